"""Grids and frames: from a grid to runs, beside writing them; and stored runs as frames.

Run as ``python -m benchmarks frames``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import sqlalchemy as sa

from benchmarks.report import Line, Quoted, Table, fastest, in_seconds
from benchmarks.runs import sqlite_url
from mltraq_prefect import Experiment, Session, create_session

GRID = {"a": range(1000), "b": [i / 10 for i in range(20)], "c": [*"vwxyz"], "d": [False, True]}

FRAME = 1.5
"""A frame takes that much more than `pandas.read_sql` of the same columns at most."""


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` takes fewer runs and repeats less often."""
    grid = GRID | {"a": range(100)} if quick else GRID
    yield Table(
        "Grids: add_runs beside writing them to SQLite", ("work", "ours", "write"), grids(grid)
    )
    title = "Frames from SQLite: params, six fields, ledger, beside pandas.read_sql of the view"
    yield Table(title, ("work", "ours", "read_sql"), frames(grid))


def grids(grid: dict[str, object]) -> list[Line]:
    """Return the line of one grid."""
    made: list[Experiment] = []

    def add() -> None:
        made.append(create_session("sqlite://").add_experiment("grid").add_runs(**grid))

    def write() -> None:
        with sqlite_url() as url, create_session(url) as session:
            session.persist(made[0])

    ours, beside = fastest(add, write, repeats=3)
    name = f"add_runs of {len(made[0].runs):,} points"
    return [Line((name, in_seconds(ours), in_seconds(beside)), ours / beside, 1, "speed.md")]


def frames(grid: dict[str, object]) -> list[Line]:
    """Return lines of stored runs with six scalar fields: all of them, and some."""
    with sqlite_url() as url, create_session(url) as session:
        experiment = session.add_experiment("grid").add_runs(**grid)
        for i, run in enumerate(experiment.runs.values()):
            run.fields.update(loss=i * 0.1, accuracy=i / 7, n=i, ok=i % 2 == 0, lr=0.1 / (i + 1))
            run.fields.optimizer = f"adam {i % 7}"
        count = len(experiment.persist().runs)
        return [
            _frame(session, url, f"frame of {count:,} runs", "", FRAME, "README"),
            _frame(session, url, "of these, half", "n % 2 = 0"),
            _frame(session, url, "of these, 100", "n BETWEEN 500 AND 599"),
        ]


def _frame(
    session: Session,
    url: str,
    work: str,
    where: str,
    budget: float | None = None,
    quoted: Quoted = "",
) -> Line:
    engine = sa.create_engine(url)
    sql = "SELECT * FROM v_grid" + (f" WHERE {where}" if where else "")
    ours, beside = fastest(
        lambda: session.frame("grid", where=where or None),
        lambda: pd.read_sql(sa.text(sql), engine),
        repeats=3,
    )
    return Line((work, in_seconds(ours), in_seconds(beside)), ours / beside, budget, quoted)
