"""Decides whether Prefect takes part in an execution, if possible without importing it.

Prefect takes two seconds to import. If none of the sources of its settings can name a server, no
server is configured; otherwise Prefect itself is asked.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mltraq_prefect.execution import ExecutionOptions
from mltraq_prefect.orchestration.current import inside_run, is_imported
from mltraq_prefect.requirements import check_installed, is_importable

VARIABLES = {"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"}
"""Variables that can lead to the URL of a server; Prefect ignores their case."""

SIGNS = ("api", "profile")
"""A file that can lead to the URL of a server contains one of these."""

DEFAULT_PROFILE = "ephemeral"


def reason_without_prefect(options: ExecutionOptions) -> str | None:
    """Return why Prefect takes no part in an execution; None if it does.

    Args:
        options: Options of the execution.

    Raises:
        UnsupportedVersion: The options require Prefect, which is not installed, or too old.
    """
    if inside_run():
        return None
    if options.task_runner is not None or options.backend == "prefect":
        check_installed("prefect")
        return None
    if not is_imported() and not is_importable("prefect"):
        return "Prefect is not installed"
    return None if _has_server() else "no Prefect server is configured"


def _has_server() -> bool:
    """Return whether Prefect's settings name a server."""
    if not is_imported() and not may_name_server():
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def may_name_server() -> bool:
    """Return whether a source of Prefect's settings may name a server."""
    if any(value and name.upper() in VARIABLES for name, value in os.environ.items()):
        return True
    home = Path(os.environ.get("PREFECT_HOME") or Path("~/.prefect").expanduser())
    files: dict[Path, Callable[[str], str]] = {
        Path(".env"): _as_it_is,
        Path("prefect.toml"): _as_it_is,
        Path("pyproject.toml"): _tool_table,
        home.expanduser() / "profiles.toml": _profiles,
    }
    return any(_names_server(path, part) for path, part in files.items())


def _names_server(path: Path, part: Callable[[str], str]) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:  # Prefect cannot read it either
        return False
    except ValueError:
        return True
    try:
        text = part(text)
    except ValueError:  # Prefect reports what is wrong
        return True
    return any(sign in text.lower() for sign in SIGNS)


def _as_it_is(text: str) -> str:
    return text


def _tool_table(text: str) -> str:
    """Return the table of Prefect in a `pyproject.toml`."""
    table: dict[str, Any] = tomllib.loads(text)
    return str(table.get("tool", {}).get("prefect", ""))


def _profiles(text: str) -> str:
    """Return the values of profiles, and a sign if the active one is not among them."""
    table: dict[str, Any] = tomllib.loads(text)
    active = table.get("active", DEFAULT_PROFILE)
    foreign = "" if active in (DEFAULT_PROFILE, *table.get("profiles", {})) else "profile"
    return foreign + str([str(values) for values in table.get("profiles", {}).values()])
