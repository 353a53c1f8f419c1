"""Commands that read a database of experiments, and print a table."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mltraq_prefect.environment import DATABASE_URL, check_variables
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.session import Session, create_session

if TYPE_CHECKING:
    import pandas as pd

    Read = Callable[[Session, argparse.Namespace], pd.DataFrame]
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def option() -> argparse.ArgumentParser:
    """Return the option that says which database, as parent of a parser."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--database",
        metavar="URL",
        default=argparse.SUPPRESS,
        help=f"SQLAlchemy URL; else that of the environment variable {DATABASE_URL}",
    )
    return parent


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the command line."""
    _add(commands, "ls", _ls, "list the experiments")
    query = _add(commands, "query", _query, "print the rows of an SQL statement")
    query.add_argument("sql", help="a statement; :name in it stands for a param")
    query.add_argument(
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_param,
        help="value of a param, as JSON or else as text; may be given several times",
    )


def _ls(session: Session, _: argparse.Namespace) -> pd.DataFrame:
    return session.ls()


def _query(session: Session, options: argparse.Namespace) -> pd.DataFrame:
    return session.query(options.sql, dict(options.param))


def _add(commands: Commands, name: str, read: Read, text: str) -> argparse.ArgumentParser:
    """Add a command that prints the frame that `read` returns."""

    def run(options: argparse.Namespace) -> str:
        with create_session(_url(getattr(options, "database", None)), create=False) as session:
            frame = read(session, options)
        return frame.to_string(index=False) if len(frame) else "no rows"

    command = commands.add_parser(name, help=text, parents=[option()])
    command.set_defaults(run=run)
    return command


def _url(given: str | None) -> str:
    check_variables()
    found = given or os.environ.get(DATABASE_URL)
    if found is None:
        raise InvalidInput(
            "which database? Give its URL, such as --database sqlite:///mltraq.db, or set the "
            f"environment variable {DATABASE_URL}"
        )
    return found


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
