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
"""At least half the driver's speed to write, at most twice its time to read: the driver writes the
same rows from tuples, those of the ledger included, and reads the runs alone, a dict each."""
LINEAR = 1.5
"""Time per run at any size, as a multiple of the least at a smaller one: linear growth is 1."""

Databases = dict[str, Callable[[], AbstractContextManager[str]]]
DATABASES: Databases = {"SQLite": sqlite_url, "PostgreSQL": postgresql_database}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` takes fewer runs and repeats less often."""
    count, repeats = (RUNS // 10, 2) if quick else (RUNS, 3)
    lines = [line for name in DATABASES for line in bulk(name, count, repeats)]
    headings = ("work", "ours", "driver", "without ledger", "pandas.to_sql", "MLTRAQ")
    title = f"Tables: {count:,} runs of 10 scalar fields; the driver writes the same, with indexes"
    yield Table(title, headings, lines)
    headings = ("runs", "write", "read", "a run", "runs held", "write adds", "a loaded run")
    yield Table("Growth on SQLite: seconds, and KiB of memory a run", headings, growth(quick))


def bulk(name: str, count: int, repeats: int) -> Iterator[Line]:
    """Yield the lines of one database: writes, and reads."""
    peer = peers.ask("mltraq_tables", str(count)) if name == "SQLite" else None
    wrote, loaded = peer or ("", "")
    for order in ("ids in order", "ids as made"):
        times = [[*_once(name, count, order == "ids in order")] for _ in range(repeats)]
        ours, load, use, both, alone, read, to_sql = map(min, zip(*times, strict=True))
        figures = cells((ours, both, alone, to_sql, wrote), in_seconds)
        yield Line((f"write to {name}, {order}", *figures), ours / both, BUDGET)
    figures = cells((load, "", read, "", loaded), in_seconds)
    yield Line((f"read from {name}", *figures), load / read, BUDGET)
    figures = cells((load + use, "", read, "", ""), in_seconds)
    yield Line((f"read from {name}, every run used", *figures), (load + use) / read)


def _once(name: str, count: int, in_order: bool) -> Iterator[float]:
    """Yield the seconds of each way to write or read, in the order of the columns."""
    runs, rows = make_runs(count, in_order), make_rows(count, in_order)
    with DATABASES[name]() as url:
        store = Store(url)
        store.check()
        ledger, steps = raw.ledger_rows(rows), raw.step_rows(rows)
        yield timed(lambda: store.write(record(runs), "fail"))
        yield timed(lambda: store.read("bench"))
        found = store.read("bench").runs
        yield timed(lambda: [(run.fields, run.params, run.ledger) for run in found])
        store.close()
        yield timed(lambda: raw.write(url, {"raw": rows, "raw_ledger": ledger, "raw_steps": steps}))
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
    command = [sys.executable, "-m", "benchmarks.memory", step, url, str(count)]
    found = subprocess.run(command, cwd=peers.ROOT, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(found.stdout)
    return measured
