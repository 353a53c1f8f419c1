"""Tracking: lists and arrays of values, one persist; session and database file included.

Lists, whose values are appended one by one, beside MLTRAQ and MLflow, which takes minutes for the
largest. Arrays, which is what MLTRAQ's own benchmarks track, beside MLTRAQ in its database and in
its DataStore, and others as far as they have something like it. On SQLite, in one process. Run as
``python -m benchmarks tracking``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

import mltraq_prefect as mltraq
from benchmarks import peers
from benchmarks.report import (
    CPU,
    WALL,
    Line,
    Quoted,
    Table,
    cells,
    fastest,
    milliseconds,
    repeats_for,
)
from benchmarks.runs import sqlite_url

WORKLOADS = (
    *((1, values) for values in (1, 10, 100, 1_000, 10_000)),
    *((runs, 1) for runs in (10, 100)),
    *((runs, values) for runs in (500, 1_000) for values in (500, 1_000)),
)
QUOTED = ((1, 1), (1_000, 1_000))
MOST_QUICKLY = 10_000

ARRAYS = (
    *((1, values) for values in (10_000, 100_000, 1_000_000)),
    *((10, values) for values in (10_000, 100_000, 1_000_000)),
    *((runs, 1) for runs in (100, 1_000, 10_000)),
    *((runs, 1_000) for runs in (100, 1_000, 10_000)),
)
QUOTED_ARRAYS = ((1, 1_000_000), (10_000, 1_000))
OTHERS = {
    "mltraq": "MLTRAQ",
    "files": "its DataStore",
    "mlflow": "MLflow",
    "optuna": "Optuna",
    "aim": "Aim",
    "trackio": "Trackio",
}
TURNS = 6
SLOW = ("mlflow", "optuna", "aim", "trackio")
"""Take one turn only, as they cost many times what the others do."""


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
    with ExitStack() as started:
        asked = {name: started.enter_context(peers.peer("arrays", name)) for name in OTHERS}
        others = {name: peer for name, peer in asked.items() if peer is not None}
        lines = [array_line(*workload, others) for workload in workloads]
    title = "Arrays on SQLite, one a run; the ratio is to the best of the others"
    return Table(title, ("runs x values", "ours", *(OTHERS[name] for name in others)), lines)


def array_line(runs: int, values: int, others: Mapping[str, peers.Peer]) -> Line:
    """Measure all by turns: the machine does other things at one time than at another."""
    own = [np.random.default_rng(i).random(values) for i in range(runs)]
    track_arrays(own)
    found: dict[str, list[float | None]] = {name: [] for name in ("ours", *others)}
    for turn in range(TURNS):
        found["ours"] += fastest(lambda: track_arrays(own), repeats=1, clock=CPU)
        for name, peer in others.items():
            if turn == 0 or name not in SLOW:
                found[name].append(peer.ask(f"{runs}x{values}"))
    ours, *best = [min((s for s in all_ if s is not None), default=None) for all_ in found.values()]
    assert ours is not None
    figures = cells(("-" if s is None else s for s in (ours, *best)), milliseconds)
    known = [seconds for seconds in best if seconds is not None]
    quoted: Quoted = "speed.md" if (runs, values) in QUOTED_ARRAYS else ""
    return Line((f"{runs} x {values}", *figures), ours / min(known) if known else None, 1.0, quoted)


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
    quoted: Quoted = "speed.md" if (runs, values) in QUOTED else ""
    ratio = ours / min(others) if others else None
    return Line((f"{runs} x {values}", *figures), ratio, 1.0, quoted)


def track(runs: int, values: int) -> None:
    with sqlite_url() as url, mltraq.create_session(url) as session:
        experiment = session.add_experiment("bench")
        for _ in range(runs):
            with experiment.run() as run:
                run.fields.metric = []
                for i in range(values):
                    run.fields.metric.append(i / 7)
        experiment.persist()
