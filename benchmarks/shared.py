"""Two processes with a worker each that share a sweep, beside one process with two workers.

Each run computes for 20 ms in plain Python. All is warm: the processes wait, with what they import,
until they are told to begin. What claims cost is what a sweep of trivial runs takes more of the
processor if it is shared, in the process that claims and writes; workers and server do not count.
Run as ``python -m benchmarks shared``.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import mltraq_prefect as mltraq
from benchmarks.report import CPU, WALL, Line, Table, fastest, in_seconds
from benchmarks.runs import sqlite_url
from benchmarks.steps import compute, increment
from tests.servers import postgresql_database

RUNS = 2_000
KWARGS = {"seconds": 0.02}
TRIVIAL = {"seconds": 0.0}

TO_ONE = 1.15
"""Budget of the ratio to one process."""

CLAIM_SECONDS = 1e-3
"""What a claim may cost for each run."""

DATABASES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "SQLite": sqlite_url,
    "PostgreSQL": postgresql_database,
}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` measures once."""
    logging.getLogger("mltraq_prefect").setLevel(logging.ERROR)
    lines, costs = [], []
    for name, database in DATABASES.items():
        with database() as url:
            alone, together = fastest(
                lambda url=url: swept(url, (2,)),
                lambda url=url: swept(url, (1, 1)),
                repeats=1 if quick else 3,
                clock=_Clock(),
            )
            lines.append(
                Line((name, in_seconds(alone), in_seconds(together)), together / alone, TO_ONE)
            )
            costs.append(claims_line(name, url))
    title = f"Shared sweep of {RUNS:,} runs of 20 ms, checkpointed"
    yield Table(title, ("database", "1 process, 2 workers", "2 processes, 1 worker each"), lines)
    title = f"Claims, ms of processor a run; the ratio is to {CLAIM_SECONDS * 1e3:g} ms more"
    yield Table(title, ("database", "alone", "shared", "more"), costs)


class _Clock:
    """Counts only the seconds that `swept` has measured."""

    total = 0.0

    def __call__(self) -> float:
        return _Clock.total


def swept(url: str, workers: tuple[int, ...]) -> None:
    """Execute a sweep in a process for each number of workers; count the time until all end."""
    name = f"sweep {time.monotonic_ns()}"
    shared = str(len(workers) > 1)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.shared", url, name, str(jobs), shared],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for jobs in workers
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    start = WALL()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    _Clock.total += WALL() - start
    for process in processes:
        process.communicate()
        assert process.returncode == 0


def claims_line(database: str, url: str) -> Line:
    """Return what sharing adds to runs that do next to nothing."""

    def sweep(*, shared: bool) -> None:
        with mltraq.create_session(url) as session:
            name = f"trivial {time.monotonic_ns()}"
            experiment = session.add_experiment(name).add_runs(N=range(RUNS))
            options = {"checkpoint": True, "shared": shared, "backend": "local"}
            experiment.execute([compute, increment], TRIVIAL, **options)

    alone, shared = fastest(
        lambda: sweep(shared=False), lambda: sweep(shared=True), repeats=3, clock=CPU
    )
    more = (shared - alone) / RUNS
    figures = (f"{seconds / RUNS * 1e3:,.3f}" for seconds in (alone, shared))
    return Line((database, *figures, f"{more * 1e3:,.3f}"), more / CLAIM_SECONDS, 1.0)


def take_part(url: str, name: str, jobs: int, shared: bool) -> None:
    """Execute the sweep once it is told to, after a small one that warms up."""
    logging.getLogger("mltraq_prefect").setLevel(logging.ERROR)
    with mltraq.create_session(url) as session:
        warm = session.add_experiment(f"warm {time.monotonic_ns()}").add_runs(N=range(4))
        warm.execute([compute, increment], KWARGS, n_jobs=jobs, checkpoint=True, shared=shared)
        experiment = session.add_experiment(name).add_runs(N=range(RUNS))
        print("ready", flush=True)
        sys.stdin.readline()
        experiment.execute(
            [compute, increment], KWARGS, n_jobs=jobs, checkpoint=True, shared=shared
        )
        print("done", flush=True)


if __name__ == "__main__":
    url, name, jobs, shared = sys.argv[1:]
    take_part(url, name, int(jobs), shared == "True")
