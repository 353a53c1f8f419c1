"""The command line: look into a database of experiments."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from mltraq_prefect.errors import MltraqError
from mltraq_prefect.session import DATABASE_URL, create_session

DEFAULT_URL = "sqlite:///mltraq.db"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, or 1 after an error of the package."""
    options = _parser().parse_args(arguments)
    try:
        with create_session(options.database) as session:
            frame = session.ls() if options.command == "ls" else session.query(options.sql)
    except MltraqError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(frame.to_string(index=False) if len(frame) else "no rows")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mltraq-prefect", description=__doc__)
    parser.add_argument(
        "--database",
        default=os.environ.get(DATABASE_URL, DEFAULT_URL),
        help=f"SQLAlchemy URL; default: ${DATABASE_URL}, else {DEFAULT_URL}",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ls", help="list the experiments")
    query = commands.add_parser("query", help="print the rows of an SQL statement")
    query.add_argument("sql")
    return parser
