"""The command that lets other users of a database use what is stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.target import Target


class Role(StrEnum):
    """What a user may do."""

    READER = "reader"
    WRITER = "writer"
    OWNER = "owner"


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "grant", _grant, "grant reader --to ada", "grant owner --to bob --only-show")


def _grant(
    target: Target,
    role: Annotated[
        Role,
        typer.Argument(
            metavar="reader|writer|owner",
            help="Reads everything; also adds and changes runs; or does everything, as the owner.",
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="USER", help="A user of the database; name@host where users have hosts."
        ),
    ],
    only_show: Annotated[
        bool, typer.Option("--only-show", help="Print the statements, and execute none.")
    ] = False,
) -> str:
    """Let a user of the database read, write or own what is stored now and later.

    It prints the statements that it has executed. Who executes them owns the tables, or
    administers the server.
    """
    with target.store() as store:
        done = store.grant(role.value, to, only_show=only_show)
    return "\n".join(f"{statement};" for statement in done)
