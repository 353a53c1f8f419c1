"""Homes of Prefect servers, whose tables are made once for all servers of a test session."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DATABASE = "prefect.db"
"""Its name in a home of Prefect's."""

START_SECONDS = 120
"""How long a server may take to start, on a machine that is busy."""


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


@contextmanager
def served(home: Path) -> Iterator[None]:
    """Serve a home to this process, as Prefect's `prefect_test_harness` serves a virgin one."""
    from prefect import settings
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.server.api.server import SubprocessASGIServer

    of_server = {
        settings.PREFECT_SERVER_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{home / DATABASE}",
        settings.PREFECT_SERVER_LOGGING_LEVEL: "CRITICAL",
        settings.PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: START_SECONDS,
    }
    with (
        settings.temporary_settings(of_server),
        SubprocessASGIServer() as server,
        settings.temporary_settings({settings.PREFECT_API_URL: server.api_url}),
    ):
        yield
        # What is on its way would not be received any more.
        APILogWorker.instance().drain()
        EventsWorker.drain_all()
