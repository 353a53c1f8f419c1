"""Tracking: lists and arrays of values, one persist; session and database file included.

Lists, whose values are appended one by one, beside MLTRAQ and MLflow, which takes minutes for the
largest. Arrays, which is what MLTRAQ's own benchmarks track, beside MLTRAQ in its database and in
its DataStore, and others as far as they have something like it. On SQLite, in one process. Run as
``python -m benchmarks tracking``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import mltraq_prefect as mltraq
from benchmarks import peers
from benchmarks.report import CPU, WALL, Line, Table, cells, fastest, milliseconds, repeats_for
from benchmarks.runs import sqlite_url

WORKLOADS = (
    *((1, values) for values in (1, 10, 100, 1_000, 10_000)),
    *((runs, 1) for runs in (10, 100)),
    *((runs, values) for runs in (500, 1_000) for values in (500, 1_000)),
)
MOST_QUICKLY = 10_000

ARRAYS = (
    *((1, values) for values in (10_000, 100_000, 1_000_000)),
    *((10, values) for values in (10_000, 100_000, 1_000_000)),
    *((runs, 1) for runs in (100, 1_000, 10_000)),
    *((runs, 1_000) for runs in (100, 1_000, 10_000)),
)
OTHERS = {
    "mltraq": "MLTRAQ",
    "files": "its DataStore",
    "mlflow": "MLflow",
    "optuna": "Optuna",
    "aim": "Aim",
    "trackio": "Trackio",
}


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
    yield arrays(quick)


def arrays(quick: bool) -> Table:
    """Return the table of arrays; seconds are of the processor."""
    workloads = [w for w in ARRAYS if not quick or w[0] * w[1] <= MOST_QUICKLY]
    sizes = [f"{runs}x{values}" for runs, values in workloads]
    asked = {title: peers.ask("arrays", name, *sizes) for name, title in OTHERS.items()}
    others = {title: found for title, found in asked.items() if found}
    lines = [
        array_line(*workload, [found[i] for found in others.values()])
        for i, workload in enumerate(workloads)
    ]
    title = "Arrays on SQLite, one a run; the ratio is to the best of the others"
    return Table(title, ("runs x values", "ours", *others), lines)


def array_line(runs: int, values: int, others: list[float | None]) -> Line:
    own = [np.random.default_rng(i).random(values) for i in range(runs)]
    (ours,) = fastest(lambda: track_arrays(own), repeats=repeats_for(runs, values), clock=CPU)
    figures = cells((ours, *("-" if s is None else s for s in others)), milliseconds)
    known = [seconds for seconds in others if seconds is not None]
    return Line((f"{runs} x {values}", *figures), ours / min(known) if known else None, 1.0)


def track_arrays(own: list[Any]) -> None:
    with sqlite_url() as url, mltraq.create_session(url) as session:
        experiment = session.add_experiment("bench")
        for array in own:
            with experiment.run() as run:
                run.fields.array = array
        experiment.persist()


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
