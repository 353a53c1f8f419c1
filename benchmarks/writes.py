"""Writes: how many bytes it takes to add one metric to runs that hold large predictions.

Bytes that the process hands to the system and reads from it (SQLite), or bytes of the server's
write-ahead or redo log (PostgreSQL, MariaDB). Linux only. Run as ``python -m benchmarks writes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.report import Line, Table, cells
from benchmarks.runs import record
from benchmarks.tables import DATABASES
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.pending import Pending
from tests.servers import mariadb_database

RUNS = 1_000
PREDICTIONS = 125_000
MB = 10**6

SERVERS = {**DATABASES, "MariaDB": mariadb_database}
LOGS = {
    "PostgreSQL": "SELECT (pg_current_wal_lsn() - '0/0')::bigint",
    "MariaDB": "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name = 'Innodb_lsn_current'",
}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the table; `quick` takes fewer runs."""
    runs = RUNS // 10 if quick else RUNS
    title = f"Adding one metric to {runs:,} runs with 1 MB of predictions each; MB"
    headings = ("database", "written before", "written", "read")
    yield Table(title, headings, [line(name, runs) for name in SERVERS])


def line(name: str, count: int) -> Line:
    with SERVERS[name]() as url:
        written = _log(url, LOGS[name]) if name in LOGS else (lambda: _process("wchar"))
        store = Store(url)
        store.check()
        start = written()
        _predict(store, count)
        before, read_before = written(), _process("rchar")
        _evaluate(store)
        added, read = written() - before, _process("rchar") - read_before
        store.close()
    sizes = [before - start, added, "" if name in LOGS else read]
    return Line((name, *cells(sizes, _megabytes)), added / MB, 1.0)


def _megabytes(size: float) -> str:
    return f"{size / MB:,.2f}"


def _predict(store: Store, count: int) -> None:
    """Write the runs, a hundred at a time."""
    rng = np.random.default_rng(0)
    for first in range(0, count, 100):
        ledger = [LedgerEntry("completed", {"generate": "1"}, attempts=1) for _ in range(100)]
        runs = [
            Run(
                params={"seed": first + i},
                fields={"seed": first + i, "predictions": rng.random(PREDICTIONS)},
                ledger=entry,
            )
            for i, entry in enumerate(ledger)
        ]
        store.write(record(runs), "merge")


def _evaluate(store: Store) -> None:
    stored = store.read("bench", columns=["seed"], pending=Pending("evaluate"))
    for run in stored.runs:
        run.fields.accuracy = 1 / (1 + run.fields.seed)
        run.ledger.steps["evaluate"] = "1"
    store.write(stored, "merge")


def _process(counter: str) -> int:
    """Return a counter of the bytes that this process has read or written."""
    lines = Path("/proc/self/io").read_text("ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)[counter])


def _log(url: str, statement: str) -> Callable[[], int]:
    """Return what says how much has been written to the server's log."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)

    def position() -> int:
        with engine.connect() as connection:
            found: Any = connection.exec_driver_sql(statement).scalar_one()
        return int(found)

    return position
