"""The command that reads every cell."""

from __future__ import annotations

from dataclasses import astuple
from typing import Annotated

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table
from mltraq_prefect.cli.progress import progress
from mltraq_prefect.cli.target import Target, names


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "verify", _verify, "verify", "verify digits --repair")


def _verify(
    target: Target,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Name of an experiment; all if none.", autocompletion=names
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Recompute wrong counts and standings of runs.")
    ] = False,
) -> Table:
    """Read every cell, and print what is corrupt or belongs to nothing.

    The exit status is 1 if something is wrong and was not mended.
    """
    from mltraq_prefect.storage.verifying import Problem, verify

    with target.store() as store, progress("verify runs") as advance:
        found = list(verify(store, name, repair=repair, advance=advance))
    status = int(not all(problem.is_mended for problem in found))
    rows = [astuple(own) for own in found]
    return Table(list(Problem.__slots__), rows, status=status, none="nothing is wrong")
