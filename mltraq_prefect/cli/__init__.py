"""The command line: look into a database of experiments, keep it in order, start your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mltraq_prefect.cli import (
    comparing,
    doctor,
    exchanging,
    granting,
    organising,
    origins,
    pages,
    reading,
    showing,
    templates,
    verifying,
)
from mltraq_prefect.cli.commands import PROGRAM, group
from mltraq_prefect.cli.target import BLOCK, DATABASE, Target
from mltraq_prefect.version import __version__

GROUPS = (
    reading,
    showing,
    comparing,
    origins,
    pages,
    exchanging,
    organising,
    verifying,
    granting,
    doctor,
    templates,
)
"""Modules whose `add_commands` adds commands."""

_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
"""Typer brings a click of its own, or uses the one that is installed, as its version has it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the name of the program; that of this process if None.

    Returns:
        The exit status: 0, or 1 after an error of the package.

    Raises:
        SystemExit: With status 2 if the arguments cannot be used.
    """
    try:
        return int(app(arguments, prog_name=PROGRAM, standalone_mode=False) or 0)
    except _USAGE_ERROR as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except typer.Abort:
        typer.echo("nothing was done", err=True)
        return 1


def _tell(asked: bool) -> None:
    if asked:
        typer.echo(f"{PROGRAM} {__version__}")
        raise SystemExit(0)


def _program(
    context: typer.Context,
    database: DATABASE = None,
    block: BLOCK = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Look into a database of experiments, keep it in order, start your own."""
    context.obj = Target(database, block)


app = group(_program)
for module in GROUPS:
    module.add_commands(app)
