"""Grids and frames: from a grid to runs, beside writing them; and stored runs as frames.

Run as ``python -m benchmarks frames``.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report import Line, Table, fastest, in_seconds
from benchmarks.runs import sqlite_url
from mltraq_prefect import Experiment, create_session

GRID = {"a": range(1000), "b": [i / 10 for i in range(20)], "c": [*"vwxyz"], "d": [False, True]}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` takes fewer runs and repeats less often."""
    grid = GRID | {"a": range(100)} if quick else GRID
    yield Table(
        "Grids: add_runs beside writing them to SQLite", ("work", "ours", "write"), grids(grid)
    )


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
    return [Line((name, in_seconds(ours), in_seconds(beside)), ours / beside, 1)]
