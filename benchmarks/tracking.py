"""Tracking: each value appended to a list, one persist; session and database file included.

Beside MLTRAQ and MLflow, on SQLite, in one process. MLflow takes minutes for the largest. Run as
``python -m benchmarks tracking``.
"""

from __future__ import annotations

from collections.abc import Iterator

import mltraq_prefect as mltraq
from benchmarks import peers
from benchmarks.report import WALL, Line, Table, cells, fastest, milliseconds, repeats_for
from benchmarks.runs import sqlite_url

WORKLOADS = (
    *((1, values) for values in (1, 10, 100, 1_000, 10_000)),
    *((runs, 1) for runs in (10, 100)),
    *((runs, values) for runs in (500, 1_000) for values in (500, 1_000)),
)
MOST_QUICKLY = 10_000


def tables(quick: bool) -> Iterator[Table]:
    """Yield the table of workloads; `quick` leaves out the largest."""
    workloads = [w for w in WORKLOADS if not quick or w[0] * w[1] <= MOST_QUICKLY]
    sizes = [f"{runs}x{values}" for runs, values in workloads]
    others = {name: peers.ask(f"{name}_tracking", *sizes) for name in ("mltraq", "mlflow")}
    lines = [
        line(*workload, [found[i] for found in others.values() if found])
        for i, workload in enumerate(workloads)
    ]
    headings = ("runs x values", "ours", *(name for name, found in others.items() if found))
    yield Table("Tracking on SQLite; the ratio is to the best of the others", headings, lines)


def line(runs: int, values: int, others: list[float]) -> Line:
    (ours,) = fastest(lambda: track(runs, values), repeats=repeats_for(runs, values), clock=WALL)
    figures = cells((ours, *others), milliseconds)
    return Line((f"{runs} x {values}", *figures), ours / min(others) if others else None, 1.0)


def track(runs: int, values: int) -> None:
    with sqlite_url() as url, mltraq.create_session(url) as session:
        experiment = session.add_experiment("bench")
        for _ in range(runs):
            with experiment.run() as run:
                run.fields.metric = []
                for i in range(values):
                    run.fields.metric.append(i / 7)
        experiment.persist()
