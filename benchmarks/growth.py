"""What operations make a database do, by what is stored beside them: counts, not times.

Run as ``python -m benchmarks growth``; with ``--quick`` up to 100,000 stored runs, else 1,000,000.
The ratio is that of the rows, or of SQLite's instructions, beside the most and the fewest runs.
Then few runs are read beside the most, in CPU seconds of this process and by the clock: the ratio
is that of the CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from benchmarks import reads
from benchmarks.report import Line, Table
from benchmarks.runs import sqlite_url
from tests import growth
from tests.servers import counted_postgresql_database

SIZES = (1_000, 100_000, 1_000_000)
FLAT = 1.5
"""Ratio of what is read beside the most runs to what is read beside the fewest."""

DATABASES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "SQLite": sqlite_url,
    "PostgreSQL": counted_postgresql_database,
}


def tables(quick: bool) -> Iterator[Table]:
    """Yield a table for each database; `quick` leaves out the largest size."""
    logging.getLogger("mltraq_prefect").setLevel(logging.ERROR)
    sizes = SIZES[:-1] if quick else SIZES
    for name, database in DATABASES.items():
        with database() as url:
            found = [measured(url, sizes, index) for index in range(len(sizes))]
            few = reads.lines(url)
        told = ", ".join(found[0]["ls()"])
        title = f"{name}: {told} of each operation, by the runs that are stored"
        lines = [line(name, [counts[name] for counts in found]) for name in growth.OPERATIONS]
        yield Table(title, ("operation", *(f"{size:,}" for size in sizes)), lines)
        yield Table(f"{name}: few of {sizes[-1]:,} runs, beside the driver", reads.HEADINGS, few)


def measured(url: str, sizes: tuple[int, ...], index: int) -> dict[str, growth.Counts]:
    """Return what each operation costs beside the runs of a size, which are made first."""
    if index == 0:
        growth.make(url, sizes[0])
    else:
        growth.grow(url, (sizes[index] - sizes[index - 1]) // sizes[index - 1])
    return {name: growth.counted(url, work) for name, work in growth.OPERATIONS.items()}


def line(operation: str, found: list[growth.Counts]) -> Line:
    cells = (" / ".join(f"{count:,}" for count in counts.values()) for counts in found)
    read = [counts.get("read", counts.get("instructions", 0)) for counts in found]
    return Line((operation, *cells), read[-1] / max(read[0], 1), FLAT)
