"""What single values look like, and which column most of them want."""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import sys
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from mltraq_prefect.codecs import project_json, to_json
from mltraq_prefect.model.identity import as_python
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.storage.values.kinds import (
    BINARY,
    DATETIME,
    FLOAT,
    JSON,
    TEXT,
    Backend,
    Guess,
    Kind,
)
from mltraq_prefect.storage.values.kinds.numbers import as_float
from mltraq_prefect.storage.values.kinds.times import without_zone
from mltraq_prefect.storage.values.layout import Column
from mltraq_prefect.storage.values.natives import NATIVES, NO_TYPE

_NO_GUESS = Guess(None, None, None)
_BINARY = Guess(BINARY, None, None)


def guessed(value: Any, backend: Backend) -> Guess:
    """Return what a value looks like to a backend."""
    if is_missing(value):
        return _NO_GUESS
    native = NATIVES.get(type(value))
    if native is not None:
        cell = value if native.revive is None else as_python(value)
        return native.kind.guess(cell, native.type)
    if type(value) in (list, dict, tuple, Namespace):
        return _tree(value, backend)
    return _foreign(value)


def is_missing(value: Any) -> bool:
    """Return whether it is no value: None, NaT or NA, but not NaN, which is a float."""
    if value is None:
        return True
    if type(value).__name__ == "NAType":
        return bool(value is sys.modules["pandas"].NA)
    is_moment = isinstance(value, (datetime.datetime, np.datetime64, np.timedelta64))
    return is_moment and bool(value != value)


def _tree(value: Any, backend: Backend) -> Guess:
    text = to_json(value, nul=backend.nul)
    if text is not None:
        return Guess(JSON, text, "json")
    text = project_json(value)
    if text is None or (not backend.nul and "\\u0000" in text):
        return _BINARY
    return Guess(JSON, text, None)


def _foreign(value: Any) -> Guess:
    """Take a value of a type that no column keeps for what it is a special case of."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        value = _from_numpy(value)
    if isinstance(value, datetime.datetime):
        return Guess(DATETIME, without_zone(value), None)
    if isinstance(value, datetime.timedelta):
        return Guess(FLOAT, value.total_seconds(), None)
    if isinstance(value, (decimal.Decimal, fractions.Fraction, np.floating)):
        return Guess(FLOAT, as_float(value), None)
    if isinstance(value, pathlib.PurePath):
        return Guess(TEXT, str(value), None)
    return _BINARY


def _from_numpy(value: np.datetime64 | np.timedelta64) -> Any:
    """Return NumPy's time as Python's, cut to microseconds, or None if it has none."""
    try:
        unit = "datetime64[us]" if isinstance(value, np.datetime64) else "timedelta64[us]"
        found = value.astype(unit).item()
    except (ValueError, OverflowError, TypeError):
        return None
    return found if isinstance(found, (datetime.datetime, datetime.timedelta)) else None


def chosen(guesses: Sequence[Guess], column: Column | None) -> tuple[Kind, str]:
    """Choose kind and type of a column: the known ones, else those that most values have.

    Numbers meet in the widest of their kinds.
    """
    if column is not None:
        fixed = column.type != NO_TYPE
        return column.kind, column.type if fixed else _type_of_most(guesses, column.kind)
    found = [guess.kind for guess in guesses if guess.kind is not None]
    if not found:
        return FLOAT, NO_TYPE
    widest = max((kind for kind in found if kind.is_numeric), key=attrgetter("rank"), default=FLOAT)
    kinds = Counter(widest if kind.is_numeric else kind for kind in found)
    kind = kinds.most_common(1)[0][0]
    return kind, _type_of_most(guesses, kind)


def _type_of_most(guesses: Sequence[Guess], kind: Kind) -> str:
    types = Counter(guess.type for guess in guesses if guess.type and kind.keeps(guess))
    return types.most_common(1)[0][0] if types else NO_TYPE
