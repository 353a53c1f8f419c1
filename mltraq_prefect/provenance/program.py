"""The program that executes: its script or notebook, how it was called, by whom and where."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mltraq_prefect.provenance.secrets import Secrets


def script() -> str | None:
    """Return the path of the script or notebook that is executed; None if there is none.

    Notebooks have no name of their own: some of their servers tell it.
    """
    main = sys.modules.get("__main__")
    for name in (getattr(main, "__vsc_ipynb_file__", None), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(name, str) and name.endswith(".ipynb"):
            return name
    if "ipykernel" in sys.modules and _is_kernel(sys.argv):
        return None
    file = getattr(main, "__file__", None)
    return str(Path(file).absolute()) if isinstance(file, str) else None


def _is_kernel(arguments: list[str]) -> bool:
    return bool(arguments) and Path(arguments[0]).name in (
        "ipykernel_launcher.py",
        "colab_kernel_launcher.py",
    )


def command(secrets: Secrets) -> str | None:
    """Return how the program was called, without secrets; None for a notebook."""
    arguments = [argument for argument in sys.argv if isinstance(argument, str)]
    if not arguments or _is_kernel(arguments):
        return None
    home = f"{Path.home()}{os.sep}" if Path.home() != Path.home().parent else ""
    shown = [
        f"~/{text[len(home) :]}" if home and text.startswith(home) else text for text in arguments
    ]
    return secrets.arguments(shown)


def people() -> dict[str, Any]:
    """Return who executes it, and on which host."""
    found: dict[str, Any] = {}
    with suppress(Exception):  # there may be no name of a user
        found["user_name"] = getpass.getuser()
    with suppress(OSError):
        found["host"] = socket.gethostname() or None
    return found


def shown_path(path: str) -> str:
    """Return a path that does not tell the name of a user: one in their home begins with ``~``."""
    with suppress(RuntimeError, ValueError):
        return (Path("~") / Path(path).relative_to(Path.home())).as_posix()
    return path
