"""Expressions of SQL that are not the same in each database."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from mltraq_prefect.storage.sql.dialects.declarations import ColumnType
from mltraq_prefect.storage.values.kinds import FLOAT, Kind

_PLAIN = re.compile(r"[A-Za-z0-9_ ./$\"-]*")


class Expressions:
    """Makes expressions; a dialect is one, and overrides what differs.

    Attributes:
        clock: The time of the database in UTC when the statement is executed: text in the
            format of ISO, or what the driver makes a datetime of.
        for_update: Ends a SELECT that locks its rows.
        skip_locked: The same, for one that leaves out rows that somebody else has locked.
        sorts_groups: Whether rows are sorted to be grouped, however few groups there are.
        apart: Finds what of a statement is no code; one of `lexing`.
    """

    clock: ClassVar[str]
    for_update: ClassVar[str] = " FOR UPDATE"
    skip_locked: ClassVar[str] = " FOR UPDATE SKIP LOCKED"
    sorts_groups: ClassVar[bool] = False
    apart: ClassVar[str]
    types: ClassVar[Mapping[Kind, ColumnType]]

    def literal(self, text: str) -> str:
        """Return a text as a statement has it that may go through any driver and any other text.

        It has no other characters than ASCII letters, digits and ``_ ./-$"``, unless encoded.
        """
        return f"'{text}'" if _PLAIN.fullmatch(text) else self._encoded(text)

    def _encoded(self, text: str) -> str:
        raise NotImplementedError

    def param(self, key: str, kind: Kind) -> str:
        """Return the expression for a param in the JSON text, or document, ``r.params``.

        Its value is NULL where the param is missing, or a value of another kind.

        Args:
            key: Its key.
            kind: One of `OF_PARAMS`.
        """
        raise NotImplementedError

    def moment(self, document: str, key: str) -> str:
        """Return the expression for a moment, as text in a JSON document of ours.

        Args:
            document: The column of the document.
            key: The key of the text.
        """
        raise NotImplementedError

    def seconds_since(self, moment: str) -> str:
        """Return the expression for the seconds that have passed since a moment, in UTC."""
        raise NotImplementedError

    def shortened(self, sql: str, most: int) -> str:
        """Return an expression for the beginning of another one, text or a JSON document.

        Args:
            sql: The other one.
            most: Number of characters.
        """
        return f"SUBSTR({sql}, 1, {most})"

    def as_float(self, sql: str, kind: Kind) -> str:
        """Return an expression for another one, a number or truth value, as a float.

        Args:
            sql: The other one.
            kind: What it is.
        """
        return f"CAST({sql} AS {self.types[FLOAT].sql})"
