"""The command that says what is in use, and what is wrong with it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table
from mltraq_prefect.cli.target import Target
from mltraq_prefect.environment import DATABASE_URL, PICKLE_KEY, check_variables
from mltraq_prefect.errors import InvalidInput, MltraqError, UnsupportedVersion
from mltraq_prefect.requirements import (
    SUPPORTED,
    check_installed,
    installed,
    matches,
    troubles_of_server,
)
from mltraq_prefect.version import __version__


class Finding(NamedTuple):
    """What was found out about one thing.

    Attributes:
        what: What it is about.
        found: What is in use.
        trouble: What is wrong with it, and what to do; empty if nothing is.
        is_error: Whether something does not work because of it.
    """

    what: str
    found: str
    trouble: str = ""
    is_error: bool = True


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "doctor", _doctor, "doctor", "doctor --database sqlite:///mltraq.db --json")


def _doctor(target: Target) -> Table:
    """Say which versions, database, Prefect server and key are in use, and what is wrong with them.

    Nothing is changed. The exit status is 1 if something does not work.
    """
    findings = [*_versions(), *_variables(), *_database(target), *_server(), *_key()]
    rows = [(one.what, one.found, _state(one), one.trouble) for one in findings]
    failed = any(one.trouble and one.is_error for one in findings)
    return Table(("what", "found", "state", "what to do"), rows, status=int(failed))


def _state(one: Finding) -> str:
    return "ok" if not one.trouble else "error" if one.is_error else "note"


def _versions() -> Iterator[Finding]:
    yield Finding("mltraq_prefect", __version__)
    yield Finding("Python", platform.python_version())
    for library in SUPPORTED:
        yield Finding(library, installed(library) or "missing", _trouble(check_installed, library))
    for driver, specifier in _drivers().items():
        if (found := installed(driver)) is not None:
            fits = not specifier or matches(found, specifier)
            advice = f'run: python -m pip install "{driver}{specifier}"'
            yield Finding(driver, found, "" if fits else advice)
    for trouble in troubles_of_server():
        yield Finding("Prefect server", "of this environment", trouble)


def _drivers() -> dict[str, str]:
    from mltraq_prefect.storage.sql.dialects import DIALECTS

    return {one.driver: one.driver_versions for one in DIALECTS.values() if one.driver}


def _trouble(check: Callable[[str], None], library: str) -> str:
    try:
        check(library)
    except UnsupportedVersion as error:
        return str(error)
    return ""


def _variables() -> Iterator[Finding]:
    try:
        check_variables()
    except InvalidInput as error:
        yield Finding("environment", "", str(error))


def _database(target: Target) -> Iterator[Finding]:
    from mltraq_prefect.storage import Store

    try:
        with closing(Store(target.url())) as store:
            health = store.examine()
    except MltraqError as error:
        is_error = target != Target() or DATABASE_URL in os.environ
        yield Finding("database", "none", str(error), is_error)
        return
    yield Finding("database", health.url, health.trouble)
    if health.is_missing:
        yield Finding("file", "missing", "the first write makes it", is_error=False)
    elif health.format is None and not health.trouble:
        yield Finding("tables", "none", "the first write makes them", is_error=False)
    elif not health.trouble:
        yield _format(health.format or 0, health.newest)
        yield Finding("experiments", f"{health.experiments:,}")
        yield Finding("writing", "no" if health.read_only else "yes", health.read_only, False)


def _format(found: int, newest: int) -> Finding:
    if found > newest:
        advice = f"this package knows formats up to {newest}: upgrade it"
        return Finding("format", str(found), advice)
    older = f"it becomes {newest} when it is opened for the first time"
    return Finding("format", str(found), older if found < newest else "", is_error=False)


def _server() -> Iterator[Finding]:
    if installed("prefect") is None:
        return
    try:
        from mltraq_prefect.orchestration.server_status import server_status

        status = server_status()
    except Exception as error:  # Prefect cannot be imported here, whatever the reason is
        yield Finding("Prefect server", "", f"Prefect cannot be imported: {error}")
        return
    if status.url is None:
        advice = "executions do without Prefect; prefect server start, and set PREFECT_API_URL"
        yield Finding("Prefect server", "none is configured", advice, is_error=False)
    elif status.trouble:
        yield Finding("Prefect server", status.url, f"it does not answer: {status.trouble}")
    else:
        yield Finding("Prefect server", f"{status.url}, version {status.version}")


def _key() -> Iterator[Finding]:
    from mltraq_prefect.storage.pickles import key_path, trouble_of_key

    trouble = trouble_of_key() or ""
    if os.environ.get(PICKLE_KEY) is not None:
        yield Finding("key of pickles", PICKLE_KEY, trouble)
    elif key_path().exists():
        yield Finding("key of pickles", str(key_path()), trouble)
    else:
        advice = f"{key_path()} is made with the first signed pickle"
        yield Finding("key of pickles", "none", advice, is_error=False)
