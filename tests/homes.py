"""Prefect servers of a test session, and their homes, whose tables are made once for all."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local import LocalPrefect
from tests import session_servers

DATABASE = "prefect.db"
"""Its name in a home of Prefect's."""

UNUSED = {
    f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false"
    for name in (
        "CANCELLATION_CLEANUP",
        "FOREMAN",
        "LATE_RUNS",
        "PAUSE_EXPIRATIONS",
        "REPOSSESSOR",
        "SCHEDULER",
        "TRIGGERS",
    )
}
"""Settings for a server that has no deployments, and need not look for their work."""


def made_once(folder: Path) -> Path:
    """Return a database with all tables, which whoever comes first makes in this folder."""
    with (folder / "prefect-tables.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        database = folder / "prefect-tables" / DATABASE
        if not database.exists():
            _make(folder / "prefect-tables-unfinished")
            (folder / "prefect-tables-unfinished").rename(database.parent)
    return database


def _make(home: Path) -> None:
    settings = {"PREFECT_HOME": str(home), "PREFECT_API_URL": ""}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, env=os.environ | settings, check=True, capture_output=True)
    connection = sqlite3.connect(home / DATABASE)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()  # what is in the log is in the file now, which alone is copied


def furnish(home: Path, tables: Path) -> Path:
    """Give a home, which need not exist, a database of its own; return the home."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(tables, home / DATABASE)
    return home


def served(tables: Path) -> session_servers.Server:
    """Start a server on a home of its own, without the services that no test of it needs."""
    prefect = LocalPrefect(furnish(tables.parent.parent / "prefect-server", tables))
    prefect.settings |= {"PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"} | UNUSED
    prefect.serve()
    return session_servers.Server(f"{prefect.url}/api", prefect.server.pid)


@contextmanager
def used(url: str) -> Iterator[None]:
    """Let this process use a server, as Prefect's `prefect_test_harness` does with one."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        yield
        # What is on its way would not be received any more.
        APILogWorker.instance().drain()
        EventsWorker.drain_all()
