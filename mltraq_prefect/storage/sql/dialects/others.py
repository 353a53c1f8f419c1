"""Databases of other packages, opened so that they can only be read."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.sql import urls


class Other(NamedTuple):
    """How to open a database of another package.

    Attributes:
        url: The URL to connect to.
        shown: What errors call it.
        file: Its file, if it is one.
        options: Execution options of a connection.
    """

    url: sa.URL
    shown: str
    file: Path | None
    options: Mapping[str, Any]

    def prepare(self, connection: Any) -> None:
        """Set up a new connection of the driver."""
        if self.file is not None:  # text that is no UTF-8 comes with surrogates
            connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")


def other(source: str) -> Other:
    """Return how to open a database of another package.

    Args:
        source: Its URL, or the path of a SQLite file.

    Raises:
        InvalidInput: The URL cannot be used, or there is no such file.
    """
    if "://" not in source:
        return _of_file(Path(source))
    url, dialect = urls.parsed(source)
    if dialect.name == "sqlite":
        return _of_file(Path(url.database or ""))
    options = {"postgresql_readonly": True} if dialect.name == "postgresql" else {}
    return Other(url, urls.masked(source), None, options)


def _of_file(file: Path) -> Other:
    if not file.is_file():
        raise InvalidInput(f"there is no file {file}; name the database of the other tracker")
    path = urllib.parse.quote(str(file.absolute()))
    url = sa.make_url(f"sqlite:///file:{path}?mode=ro&uri=true")
    return Other(url, str(file), file, {})
