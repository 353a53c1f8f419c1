"""Commands that read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table, of_dicts, of_frame
from mltraq_prefect.cli.target import NAME, Target

PARAMS = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="Value of a param, as JSON or else as text; may be given several times.",
    ),
]

_SHOWN = ("name", "runs", "completed", "failed", "stopped", "pending", "updated_at", "tags")
"""Columns of the list of experiments that a terminal has room for."""


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(
        app,
        "ls",
        _ls,
        "--database sqlite:///mltraq.db ls",
        "ls --pending train --json",
        "ls --tag team=vision --where 'failed > 0'",
    )
    add(
        app,
        "frame",
        _frame,
        "frame digits --where 'lr < :lr AND accuracy > 0.9' --param lr=0.01",
        "frame digits --column model --column accuracy --order-by=-accuracy --limit 10 --csv",
    )
    add(app, "claims", _claims, "claims digits", "claims digits --json")
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
        bool, typer.Option("--failed", help="Count runs that have failed in that step as well.")
    ] = False,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=TEXT",
            help="Only experiments with this tag; may be given several times.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="Only experiments of this condition about the columns."),
    ] = None,
    param: PARAMS = None,
) -> Table:
    """List the experiments.

    The condition is in the SQL of SQLite, whatever the database is.
    """
    from mltraq_prefect.checkpoints.selection import as_pending
    from mltraq_prefect.storage.reading import listing
    from mltraq_prefect.storage.records import LISTED

    chosen, tags, params = as_pending(pending, failed), split(tag or ()), parsed(param or ())
    with target.store() as store:
        rows = listing.chosen(store.ls(pending=chosen), where, params, tags)
    return of_dicts(LISTED, rows, shown=_SHOWN)


def _query(
    target: Target,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="A statement; :name in it stands for a param.")
    ],
    param: PARAMS = None,
    decode: Annotated[
        bool,
        typer.Option(
            "--decode", help="Print what is in arrays, frames and trees, not their bytes."
        ),
    ] = False,
) -> Table:
    """Print the rows of an SQL statement that reads."""
    params = parsed(param or ())
    with target.session() as session:
        return of_frame(session.query(sql, params, decode=decode))


def _frame(
    target: Target,
    name: NAME,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="A param, field or column; all numbers and texts if none."
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="Only runs of this condition about the view's columns."),
    ] = None,
    param: PARAMS = None,
    order_by: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="What rows are in order by; -COLUMN is descending."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="How many rows at most.")
    ] = None,
) -> Table:
    """Print runs of an experiment: params, fields, and what became of each."""
    params = parsed(param or ())
    with target.session() as session:
        frame = session.frame(name, column or None, where, params, order_by or None, limit)
    return of_frame(frame, ids=("id_run",))


def _claims(target: Target, name: NAME) -> Table:
    """List the processes that execute an experiment together, and their leases."""
    from mltraq_prefect.storage.membership import CLAIM_COLUMNS

    with target.store() as store:
        rows = [listed.row() for listed in store.claims(name)]
    return Table(list(CLAIM_COLUMNS), rows)


def parsed(given: Sequence[str]) -> dict[str, Any]:
    """Return params of a statement by name.

    Raises:
        typer.BadParameter: One is not of the form NAME=VALUE.
    """
    return {name: _parsed(value) for name, value in split(given).items()}


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def split(given: Sequence[str]) -> dict[str, str]:
    """Return texts of the form NAME=VALUE as names with values.

    Raises:
        typer.BadParameter: One is of another form.
    """
    parts = [(text, *text.partition("=")) for text in given]
    for text, name, equals, _ in parts:
        if not name or not equals:
            raise typer.BadParameter(f"{text!r} is not of the form NAME=VALUE")
    return {name: value for _, name, _, value in parts}
