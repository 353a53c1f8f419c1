"""Tables: runs from memory to committed rows and back, beside the bare driver; and how they grow.

Run as ``python -m benchmarks tables``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from benchmarks import peers, raw
from benchmarks.report import WALL, Line, Table, cells, fastest, in_seconds
from benchmarks.runs import make_rows, make_runs, record, sqlite_url
from mltraq_prefect.storage import Store
from tests.servers import postgresql_database

RUNS = 100_000
SIZES = (1_000, 10_000, 100_000, 1_000_000)
BUDGET = 2.0
"""At least half the driver's speed to write, at most twice its time to read."""
LINEAR = 1.5
"""Time per run at any size, as a multiple of the least at a smaller one: linear growth is 1."""

Databases = dict[str, Callable[[], AbstractContextManager[str]]]
DATABASES: Databases = {"SQLite": sqlite_url, "PostgreSQL": postgresql_database}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` takes fewer runs and repeats less often."""
    count, repeats = (RUNS // 10, 2) if quick else (RUNS, 3)
    lines = [line for name in DATABASES for line in bulk(name, count, repeats)]
    headings = ("work", "ours", "driver", "driver with ledger", "pandas.to_sql", "MLTRAQ")
    yield Table(f"Tables: {count:,} runs of 10 scalar fields, ledger included", headings, lines)
    headings = ("runs", "write", "read", "a run", "runs held", "write adds", "a loaded run")
    yield Table("Growth on SQLite: seconds, and KiB of memory a run", headings, growth(quick))


def bulk(name: str, count: int, repeats: int) -> Iterator[Line]:
    """Yield the lines of one database: write, read."""
    runs, rows = make_runs(count), make_rows(count)
    open_database = DATABASES[name]
    others = peers.ask("mltraq_tables", str(count)) if name == "SQLite" else None
    times = []
    for _ in range(repeats):
        with open_database() as url:
            times.append([*_once(url, runs, rows)])
    write, load, both_write, raw_write, raw_read, to_sql = map(min, zip(*times, strict=True))
    peer = others or ["", ""]
    figures = cells((write, raw_write, both_write, to_sql, peer[0]), in_seconds)
    yield Line((f"write to {name}", *figures), write / raw_write, BUDGET)
    figures = cells((load, raw_read, "", "", peer[1]), in_seconds)
    yield Line((f"read from {name}", *figures), load / raw_read, BUDGET)


def _once(url: str, runs: list[Any], rows: raw.Rows) -> Iterator[float]:
    """Yield the seconds of each way to write or read, in the order of the columns."""
    store = Store(url)
    store.check()
    ledger = raw.ledger_rows(rows)
    yield timed(lambda: store.write(record(runs), "fail"))
    yield timed(lambda: store.read("bench"))
    store.close()
    yield timed(lambda: raw.write(url, {"raw": rows, "raw_ledger": ledger}))
    raw.drop(url)
    yield timed(lambda: raw.write(url, {"raw": rows}))
    yield timed(lambda: raw.read(url))
    yield timed(lambda: raw.to_sql(url, [{"id_run": run.id_run, **run.fields} for run in runs]))


def timed(call: Callable[[], Any]) -> float:
    return fastest(call, repeats=1, clock=WALL)[0]


def growth(quick: bool) -> list[Line]:
    """Return a line for each size, each measured in processes of its own."""
    lines: list[Line] = []
    least: float | None = None
    for count in SIZES[:-1] if quick else SIZES:
        with sqlite_url() as url:
            wrote, read = (_in_process(step, url, count) for step in ("write", "read"))
        each = (wrote["seconds"] + read["seconds"]) / count
        kib = (
            f"{value / count:,.2f}" for value in (wrote["before"], wrote["added"], read["added"])
        )
        times = cells((wrote["seconds"], read["seconds"]), in_seconds)
        ratio = None if least is None else each / least
        lines.append(Line((f"{count:,}", *times, f"{each * 1e6:,.1f} us", *kib), ratio, LINEAR))
        least = each if least is None else min(least, each)
    return lines


def _in_process(step: str, url: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.growth", step, url, str(count)]
    found = subprocess.run(command, cwd=peers.ROOT, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(found.stdout)
    return measured
