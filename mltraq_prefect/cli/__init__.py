"""The command line: look into a database of experiments, start an experiment of your own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mltraq_prefect.cli import database, templates
from mltraq_prefect.errors import MltraqError
from mltraq_prefect.version import __version__

GROUPS = (database, templates)
"""Modules whose `add_commands` adds commands; each has a function that returns what it prints."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 1 after an error of the package."""
    options = _parser().parse_args(arguments)
    try:
        text = options.run(options)
    except MltraqError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(text)  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mltraq-prefect", description=__doc__, parents=[database.option()]
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for group in GROUPS:
        group.add_commands(commands)
    return parser
