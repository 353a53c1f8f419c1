"""Which database a command is about."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mltraq_prefect.environment import DATABASE_URL, FILES, check_variables
from mltraq_prefect.errors import InvalidInput, MltraqError

if TYPE_CHECKING:
    from mltraq_prefect.session import Session
    from mltraq_prefect.storage import Store

DATABASE = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help=f"SQLAlchemy URL; else that of the environment variable {DATABASE_URL}.",
    ),
]
BLOCK = Annotated[
    str | None,
    typer.Option(
        "--block",
        metavar="NAME",
        help="Prefect block that holds the URL, so that no password is among the arguments.",
    ),
]


def names(incomplete: str) -> list[str]:
    """Return names of experiments that begin with some letters, for the completion of a shell."""
    try:
        with Target().store() as store:
            return [name for name in store.names() if name.startswith(incomplete)]
    except MltraqError:  # a shell has no place for it
        return []


NAME = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of the experiment.", autocompletion=names),
]


@dataclass(frozen=True, slots=True)
class Target:
    """A database, as the options of a command say it.

    Attributes:
        database: Its URL.
        block: The Prefect block that holds its URL.
    """

    database: str | None = None
    block: str | None = None

    def or_else(self, other: Target | None) -> Target:
        """Return this one, or another if no option says which database."""
        return other if other is not None and self == Target() else self

    def url(self) -> str:
        """Return the URL.

        Raises:
            InvalidInput: Nothing says which database, or two options do.
        """
        check_variables()
        if self.database is not None and self.block is not None:
            raise InvalidInput("give either --database or --block, not both")
        if self.block is not None:
            from mltraq_prefect.orchestration.api import url_of_block

            return url_of_block(self.block)
        found = self.database or os.environ.get(DATABASE_URL)
        if found is None:
            raise InvalidInput(
                "which database? Give its URL, such as --database sqlite:///mltraq.db, or set the "
                f"environment variable {DATABASE_URL}, or name a Prefect block by --block"
            )
        return found

    @contextmanager
    def session(self, *, create: bool = False) -> Iterator[Session]:
        """Open a session on it.

        Args:
            create: Whether a file that is not there is made by the first write, and not refused.
        """
        from mltraq_prefect.opening import create_session

        with create_session(self.url(), create=create) as session:
            yield session

    @contextmanager
    def store(self, *, create: bool = False) -> Iterator[Store]:
        """Open it where no frames are needed: pandas takes longer to import than most reads.

        Args:
            create: As for `session`.
        """
        from mltraq_prefect.storage import Store

        with closing(Store(self.url(), files=os.environ.get(FILES) or None)) as store:
            store.open(create=create)
            yield store
