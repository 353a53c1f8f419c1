"""Prefect servers of a test session, and their homes, whose tables are made once for all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.local import LocalPrefect
from tests import session_servers

if TYPE_CHECKING:
    from prefect.context import SettingsContext
    from prefect.settings import Settings

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


def made_once() -> Path:
    """Return a database with all tables, which whoever needs it first makes for all."""
    return session_servers.made_once("prefect-tables", _make) / DATABASE


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


def settings_for(url: str | None) -> Settings:
    """Return Prefect's settings with a server or none; making them takes 20 ms."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}) as settings:
        return settings


def used(settings: Settings) -> SettingsContext:
    """Return a context in which this process has these settings."""
    from prefect.context import SettingsContext, get_settings_context

    return SettingsContext(profile=get_settings_context().profile, settings=settings)


def send_all(settings: Settings) -> None:
    """Send what is on its way to a server, and would not be received when that has ended."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    with used(settings):
        APILogWorker.instance().drain()
        EventsWorker.drain_all()
