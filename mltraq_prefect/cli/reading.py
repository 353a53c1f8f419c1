"""Commands that read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table, of_dicts, of_frame
from mltraq_prefect.cli.target import Target

PARAMS = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="Value of a param, as JSON or else as text; may be given several times.",
    ),
]

_SHOWN = ("name", "runs", "completed", "failed", "pending", "fields", "updated_at")
"""Columns of the list of experiments that a terminal has room for."""


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "ls", _ls, "--database sqlite:///mltraq.db ls", "ls --pending train --json")
    add(
        app,
        "query",
        _query,
        'query "SELECT n, error FROM e_tosses ORDER BY n"',
        'query "SELECT error FROM e_tosses WHERE n = :n" --param n=25 --csv',
    )


def _ls(
    target: Target,
    pending: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Only experiments on which this step can be tried."),
    ] = None,
    failed: Annotated[
        bool, typer.Option(help="Count runs that have failed in that step as well.")
    ] = False,
) -> Table:
    """List the experiments."""
    from mltraq_prefect.checkpoints.selection import as_pending
    from mltraq_prefect.storage.records import LISTED

    chosen = as_pending(pending, failed)
    with target.store() as store:
        return of_dicts(LISTED, store.ls(pending=chosen), shown=_SHOWN)


def _query(
    target: Target,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="A statement; :name in it stands for a param.")
    ],
    param: PARAMS = None,
) -> Table:
    """Print the rows of an SQL statement that reads."""
    params = parsed(param or ())
    with target.session() as session:
        return of_frame(session.query(sql, params))


def parsed(given: Sequence[str]) -> dict[str, Any]:
    """Return params of a statement by name.

    Raises:
        typer.BadParameter: One is not of the form NAME=VALUE.
    """
    params = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params
