"""Whether a value is another one than it was, as far as two marks do not say it."""

from __future__ import annotations

from typing import Any

from mltraq_prefect.codecs import encode
from mltraq_prefect.storage.values.change_marks import Mark, exact_mark, is_exact
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
    if mark is None or before is None or is_exact(mark) == is_exact(before):
        return True
    if is_exact(before):
        return bool(exact_mark(encode(value)) != before)
    return bool(_native_mark(value, column.type) != before)


def _native_mark(value: Any, type_: str) -> Mark:
    """Return the mark that a value has in a column of its own type; None if it is of another."""
    native_and_cell = native_of(value)
    if native_and_cell is None or type_ not in (native_and_cell[0].type, NO_TYPE):
        return None
    native, cell = native_and_cell
    return native.kind.marks([cell])[0]
