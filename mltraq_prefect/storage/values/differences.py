"""Whether a value is another one than it was, as far as two marks do not say it."""

from __future__ import annotations

from typing import Any

from xxhash import xxh3_128_digest

from mltraq_prefect.codecs import encode
from mltraq_prefect.storage.values.change_marks import Mark, exact_mark, is_exact
from mltraq_prefect.storage.values.kinds.texts import Text
from mltraq_prefect.storage.values.layout import Column
from mltraq_prefect.storage.values.natives import NO_TYPE, native_of


def differs(mark: Mark, before: Mark, value: Any, column: Column) -> bool:
    """Return whether a value is another one than it was.

    One value can have either mark: with a column's kind changes what its cells give back.

    Args:
        mark: Its mark.
        before: The mark of the value before.
        value: The value.
        column: Its column, before that was changed.
    """
    if mark == before:
        return False
    if mark is None or before is None:
        return True
    if is_exact(before):
        return is_exact(mark) or bool(exact_mark(encode(value)) != before)
    if is_exact(mark):
        mark = _native_mark(value, column.type)
    return bool(mark != before) and not _is_digest(before, mark, column)


def _is_digest(before: Mark, mark: Mark, column: Column) -> bool:
    """Return whether a mark is a text and that before its digest, as of all but short ones once.

    A pickle keeps the marks of the version that has stored it.
    """
    are_such = type(before) is bytes and isinstance(mark, str) and isinstance(column.kind, Text)
    return are_such and bool(xxh3_128_digest(mark.encode("utf-8", "replace")) == before)


def _native_mark(value: Any, type_: str) -> Mark:
    """Return the mark that a value has in a column of its own type; None if it is of another."""
    native_and_cell = native_of(value)
    if native_and_cell is None or type_ not in (native_and_cell[0].type, NO_TYPE):
        return None
    native, cell = native_and_cell
    return native.kind.marks([cell])[0]
