"""Grids that are streamed: memory and processor of the program, by the number of points.

Each sweep of trivial runs is executed in a fresh process, in a thread beside the one that writes
to SQLite. The ratio is that of the larger grid to the smaller one: neither memory nor the cost of
a run grows. Run as ``python -m benchmarks grid``; ``python -m benchmarks.grid URL POINTS`` is one
sweep.
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
from collections.abc import Iterator

import mltraq_prefect as mltraq
from benchmarks.memory import peak
from benchmarks.report import Line, Table
from benchmarks.runs import sqlite_url
from mltraq_prefect.model import grid

POINTS = (300_000, 3_000_000)
QUICK = (120_000, 360_000)
STREAMED = 50_000
"""Here grids of more points are streamed, so that the smaller ones are, too."""

FLAT = 1.25
"""Budget of the ratio of what must not grow."""


def tables(quick: bool) -> Iterator[Table]:
    """Yield one table; `quick` takes smaller grids."""
    sizes = QUICK if quick else POINTS
    found = [swept(size) for size in sizes]
    lines = [line(name, [each[name] for each in found]) for name in found[0]]
    headings = ("of the program", *(f"{size:,} points" for size in sizes))
    yield Table("Grids that are streamed to SQLite", headings, lines)


def line(name: str, values: list[float]) -> Line:
    return Line(
        (name, *(f"{value:.0f}" for value in values)), values[-1] / values[0], FLAT, "speed.md"
    )


def swept(points: int) -> dict[str, float]:
    """Execute a sweep in a process of its own; return what it has taken."""
    with sqlite_url() as url:
        command = [sys.executable, "-m", "benchmarks.grid", url, str(points)]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
    taken: dict[str, float] = json.loads(done.stdout)
    return taken


def main(url: str, points: int) -> None:
    logging.getLogger("mltraq_prefect").setLevel(logging.ERROR)
    grid.MAX_POINTS = STREAMED
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("grid").add_runs(n=range(points // 100), k=range(100))
        experiment.execute(multiply, checkpoint=True, backend="threads", n_jobs=1)
        assert session.ls()["completed"].iloc[0] == points
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime
    print(json.dumps({"peak, MB": peak() / 1024, "processor, us a run": 1e6 * seconds / points}))


def multiply(run: mltraq.Run) -> None:
    run.fields.product = run.params.n * run.params.k


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
