"""The command line: look into a database of experiments."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.environment import DATABASE_URL, check_variables
from mltraq_prefect.errors import InvalidInput, MltraqError
from mltraq_prefect.session import Session, create_session
from mltraq_prefect.version import __version__

if TYPE_CHECKING:
    import pandas as pd


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 1 after an error of the package."""
    options = _parser().parse_args(arguments)
    try:
        with create_session(_database(getattr(options, "database", None)), create=False) as session:
            frame = options.read(session, options)
    except MltraqError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(frame.to_string(index=False) if len(frame) else "no rows")  # noqa: T201
    return 0


def _database(url: str | None) -> str:
    check_variables()
    found = url or os.environ.get(DATABASE_URL)
    if found is None:
        raise InvalidInput(
            "which database? Give its URL, such as --database sqlite:///mltraq.db, or set the "
            f"environment variable {DATABASE_URL}"
        )
    return found


def _ls(session: Session, _: argparse.Namespace) -> pd.DataFrame:
    return session.ls()


def _query(session: Session, options: argparse.Namespace) -> pd.DataFrame:
    return session.query(options.sql, dict(options.param))


def _parser() -> argparse.ArgumentParser:
    database = argparse.ArgumentParser(add_help=False)
    database.add_argument(
        "--database",
        metavar="URL",
        default=argparse.SUPPRESS,
        help=f"SQLAlchemy URL; else that of the environment variable {DATABASE_URL}",
    )
    parser = argparse.ArgumentParser(prog="mltraq-prefect", description=__doc__, parents=[database])
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="list the experiments", parents=[database])
    ls.set_defaults(read=_ls)
    query = commands.add_parser(
        "query", help="print the rows of an SQL statement", parents=[database]
    )
    query.add_argument("sql", help="a statement; :name in it stands for a param")
    query.add_argument(
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_param,
        help="value of a param, as JSON or else as text; may be given several times",
    )
    query.set_defaults(read=_query)
    return parser


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
