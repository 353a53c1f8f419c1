"""Tables: runs from memory to committed rows and back, beside the bare driver; and how they grow.

Run as ``python -m benchmarks tables``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from benchmarks import peers, raw
from benchmarks.report import CPU, WALL, Line, Quoted, Table, cells, fastest, in_seconds
from benchmarks.runs import make_runs, record, sqlite_url
from mltraq_prefect.storage import Store
from tests.servers import postgresql_database

RUNS = 100_000
SIZES = (1_000, 10_000, 100_000, 1_000_000)
TO_WRITE = {"SQLite": 2.0, "PostgreSQL": 1.3}
"""Multiples of the driver's time, which makes the same rows of the same runs, and writes them."""
TO_READ = 2.0
"""A multiple of the driver's time: it reads the fields alone, a dict each."""
LINEAR = 1.5
"""Time per run at any size, as a multiple of the least at a smaller one: linear growth is 1."""

Databases = dict[str, Callable[[], AbstractContextManager[str]]]
DATABASES: Databases = {"SQLite": sqlite_url, "PostgreSQL": postgresql_database}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` takes fewer runs and repeats less often."""
    count, repeats = (RUNS // 10, 2) if quick else (RUNS, 3)
    lines: list[Line] = []
    shares: list[Line] = []
    for name in DATABASES:
        some, own = bulk(name, count, repeats)
        lines += some
        shares.append(own)
    headings = ("work", "ours", "driver", "rows at hand", "pandas.to_sql", "MLTRAQ")
    title = (
        f"Tables: {count:,} runs of 10 scalar fields, and their ledger; the driver writes the same "
        "rows, made of the runs or at hand, to the same tables"
    )
    yield Table(title, headings, lines)
    headings = ("work", "ours", "its server", "driver", "its server", "rows at hand", "its server")
    yield Table("The processor's seconds of these writes; the ratio is of sums", headings, shares)
    headings = ("runs", "write", "read", "a run", "runs held", "write adds", "a loaded run")
    yield Table("Growth on SQLite: seconds, and KiB of memory a run", headings, growth(quick))


def bulk(name: str, count: int, repeats: int) -> tuple[list[Line], Line]:
    """Return lines of one database: of time, and of the processor's time to write."""
    peer = peers.ask("mltraq_tables", str(count)) if name == "SQLite" else None
    wrote, loaded = peer or ("", "")
    found = [[*_once(name, count)] for _ in range(repeats)]
    costs = [Cost(*map(min, zip(*some, strict=True))) for some in zip(*found, strict=True)]
    ours, driver, at_hand, to_sql, load, use, read = costs
    both, budget = load.wall + use.wall, TO_WRITE[name]
    page: Quoted = "README" if name == "SQLite" else "speed.md"

    def line(
        work: str,
        figures: Iterable[Any],
        ratio: float,
        budget: float | None = None,
        quoted: Quoted = "",
    ) -> Line:
        return Line((f"{work} {name}", *cells(figures, in_seconds)), ratio, budget, quoted)

    walls = (*[cost.wall for cost in (ours, driver, at_hand, to_sql)], wrote)
    loads = (load.wall, read.wall, "", "", loaded)
    lines = [
        line("write to", walls, ours.wall / driver.wall, budget, page),
        line("read from", loads, load.wall / read.wall, TO_READ, page),
        line("read, and use every run, from", (both, read.wall, "", "", ""), both / read.wall),
    ]
    shares = [part for cost in costs[:3] for part in cost[1:]]
    return lines, line("write to", shares, ours.cpu / driver.cpu, budget, page)


def _once(name: str, count: int) -> Iterator[Cost]:
    """Yield what each way to write costs, in the order of the columns; then those to read."""
    runs = make_runs(count)
    at_hand = {table: list(rows) for table, rows in raw.rows_of(runs).items()}
    with DATABASES[name]() as url:
        server = raw.server_clock(url)
        store = Store(url)
        store.check()
        yield cost(lambda: store.write(record(runs), "fail"), server)
        with DATABASES[name]() as other:
            yield cost(lambda: raw.write(other, url, raw.rows_of(runs)), server)
        with DATABASES[name]() as other:
            yield cost(lambda: raw.write(other, url, at_hand), server)
        fields = [{"id_run": run.id_run, **run.fields} for run in runs]
        yield cost(lambda: raw.to_sql(url, fields), server)
        yield cost(lambda: store.read("bench"), server)
        found = store.read("bench").runs
        yield cost(lambda: [(run.fields, run.params, run.ledger) for run in found], server)
        store.close()
        yield cost(lambda: raw.read(url), server)


class Cost(NamedTuple):
    """Seconds of an operation.

    Attributes:
        wall: From its begin to its end.
        client: Of the processor, in this process.
        server: Of the processor, in those of the server.
    """

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        """Seconds of the processor."""
        return self.client + self.server


def cost(call: Callable[[], Any], server: Callable[[], float]) -> Cost:
    """Return what a call costs."""
    found: list[Cost] = []

    def measured() -> None:
        served, worked, began = server(), CPU(), WALL()
        call()
        found.append(Cost(WALL() - began, CPU() - worked, server() - served))

    fastest(measured, repeats=1)
    return found[0]


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
        lines.append(
            Line((f"{count:,}", *times, f"{each * 1e6:,.1f} us", *kib), ratio, LINEAR, "speed.md")
        )
        least = each if least is None else min(least, each)
    return lines


def _in_process(step: str, url: str, count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.memory", step, url, str(count)]
    found = subprocess.run(command, cwd=peers.ROOT, stdout=subprocess.PIPE, check=True)
    measured: dict[str, float] = json.loads(found.stdout)
    return measured
