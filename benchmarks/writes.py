"""Writes: the bytes of one more metric beside large predictions; rows that runs log.

Bytes that the process hands to the system and reads from it (SQLite), or bytes of the server's
write-ahead or redo log (PostgreSQL, MariaDB). Rows that 2 workers log into SQLite: what they add to
the sweep, and how soon another process sees them. Linux only; ``python -m benchmarks writes``.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks import peers
from benchmarks.report import Line, Table, cells, in_seconds, milliseconds
from benchmarks.runs import record, sqlite_url
from benchmarks.tables import DATABASES
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.pending import Pending
from tests.servers import mariadb_database

RUNS = 1_000
PREDICTIONS = 125_000
MB = 10**6

LOGGED = (1_000, 1_000)
"""Runs, and rows that each of them logs."""
MORE_SECONDS = 10.0
"""That these rows may take beyond the same sweep without."""

STEADY = (8, 500, 0.01)
"""Runs, rows that each of them logs, and seconds between two of them."""
SEEN_SECONDS = 1.0
"""In which a row is to be in the database."""
POLLED_SECONDS = 0.01

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
    title = (
        f"run.log in 2 workers, checkpointed, SQLite; the ratio is to {MORE_SECONDS:g} s more for "
        f"{LOGGED[0] * LOGGED[1]:,} rows; MiB of memory in the flow"
    )
    headings = ("rows", "without", "with", "in steps, more", "in the flow, more", "MiB")
    of_each = LOGGED[1] // 10 if quick else LOGGED[1]
    lines = [logged_line(LOGGED[0], of_each), logged_line(1, LOGGED[0] * of_each)]
    yield Table(title, headings, lines)
    title = "From run.log to the database of another process; the ratio is of 99 % to 1 s"
    yield Table(title, ("rows", "half", "95 %", "99 %", "all"), [seen_line()])


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
    return Line((name, *cells(sizes, _megabytes)), added / MB, 1.0, "speed.md")


def logged_line(runs: int, rows: int) -> Line:
    """Return what rows add to a sweep, also in seconds of the processor."""
    without, logged = (_logged(runs, own) for own in (-rows, rows))
    more = {name: logged[name] - without[name] for name in logged}
    times = (without["seconds"], logged["seconds"], more["steps"], more["flow"])
    figures = (*cells(times, in_seconds), f"{logged['added'] / 1024:,.0f}")
    allowed = MORE_SECONDS * runs * rows / (LOGGED[0] * LOGGED[1])
    said = f"{rows:,} of {runs:,} runs each" if runs > 1 else f"{rows:,} of one step"
    return Line((said, *figures), more["seconds"] / allowed, 1.0, "speed.md")


def _logged(runs: int, rows: int) -> dict[str, float]:
    with sqlite_url() as url:
        done = subprocess.run(
            _sweep(url, runs, rows, 0.0), cwd=peers.ROOT, stdout=subprocess.PIPE, check=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _sweep(url: str, runs: int, rows: int, pause: float) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.logged", url]
    return [*command, *map(str, (runs, rows, pause))]


def seen_line() -> Line:
    """Return how long it takes until rows are seen that runs log all the time."""
    waits = []
    with sqlite_url() as url:
        command = _sweep(url, *STEADY)
        with subprocess.Popen(command, cwd=peers.ROOT, stdout=subprocess.DEVNULL) as process:
            seen: set[tuple[str, int]] = set()
            while process.poll() is None:
                waits += _waits(url.removeprefix("sqlite:///"), seen)
                time.sleep(POLLED_SECONDS)
        assert process.returncode == 0
    assert len(waits) == STEADY[0] * STEADY[1]
    waits.sort()
    shown = [waits[int(share * (len(waits) - 1))] for share in (0.5, 0.95, 0.99, 1.0)]
    figures = cells(shown, milliseconds)
    return Line((f"{len(waits):,}", *figures), shown[2] / SEEN_SECONDS, 1.0, "speed.md")


def _waits(path: str, seen: set[tuple[str, int]]) -> list[float]:
    """Return how long ago rows were logged that are seen for the first time."""
    if not Path(path).exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 's_logged'")
        if not made.fetchall():
            return []
        rows = connection.execute("SELECT id_run, seq, at FROM s_logged").fetchall()
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    new = {(id_run, seq): at for id_run, seq, at in rows if (id_run, seq) not in seen}
    seen.update(new)
    return [(now - dt.datetime.fromisoformat(at)).total_seconds() for at in new.values()]


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
