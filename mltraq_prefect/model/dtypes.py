"""Columns of values, with the dtype that says what they are. It imports pandas."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

_EXACT_FLOAT = 2**53
_INT64 = np.iinfo(np.int64)
_MISSING = frozenset((type(None), type(pd.NA), type(pd.NaT)))
_BOOLS: frozenset[type] = frozenset((bool, np.bool_))
_FLOATS: frozenset[type] = frozenset((float, np.float16, np.float32, np.float64))
_TEXTS: frozenset[type] = frozenset((str, np.str_))
_LONGEST = datetime.timedelta(days=106_751_990)
"""Microseconds of more days have more than 64 bits."""
_TEXT = pd.Series(["text"]).dtype
_UNITS = frozenset(("s", "ms", "us", "ns"))


def typed(values: Sequence[Any], without: str = "object") -> pd.Series[Any]:
    """Return values as a column of a frame, whose dtype holds each of them exactly.

    Missing are None, `pandas.NA` and `pandas.NaT`.

    Args:
        values: The values.
        without: The dtype if all are missing.

    Returns:
        A series of dtype ``bool``, ``int64``, ``float64``, ``datetime64``, ``timedelta64`` or, in
        pandas 3, ``str``. If some are missing, ``boolean`` or ``Int64`` instead of the first two.
        Integers among floats are floats, as far as floats hold them. Values of any other type, and
        of several, are as they are, with dtype object.

    Examples:
        >>> typed([1, None]).dtype, typed([1, 2.5]).dtype, typed([1, "a"]).dtype
        (Int64Dtype(), dtype('float64'), dtype('O'))
    """
    types = set(map(type, values))
    present = types - _MISSING
    if not present and without != "object":
        dtype = _TEXT if without == "str" else without
        return pd.Series([None] * len(values), dtype=dtype)
    make = _maker(present) if present else None
    made = None if make is None else make(values, len(present) < len(types))
    if made is not None:
        return pd.Series(made)
    return pd.Series(np.fromiter(values, dtype=object, count=len(values)), dtype=object)


_Make = Callable[[Sequence[Any], bool], Any]
"""Makes a column of values, some of which may be missing; None if a dtype does not hold them."""


def _maker(types: set[type]) -> _Make | None:
    """Return what makes a column of values of some types; None if no dtype holds these."""
    if types <= _BOOLS:
        return _bools
    whole = {type_ for type_ in types if type_ is int or _is_integer(type_)}
    if types <= whole:
        return _ints
    if types <= whole | _FLOATS:
        return _mixed if whole else _floats
    if types <= _TEXTS:
        return _texts
    return _OF_TYPE.get(next(iter(types))) if len(types) == 1 else None


def _is_integer(type_: type) -> bool:
    """Whether it is a type of NumPy's integers, of which durations are a kind to NumPy."""
    return issubclass(type_, np.integer) and not issubclass(type_, np.timedelta64)


def _bools(values: Sequence[Any], has_gaps: bool) -> Any:
    return _masked(values, np.bool_, "boolean") if has_gaps else np.array(values, dtype=np.bool_)


def _ints(values: Sequence[Any], has_gaps: bool) -> Any:
    known = [value for value in values if not _is_gap(value)] if has_gaps else values
    if min(known) < _INT64.min or max(known) > _INT64.max:
        return None
    return _masked(values, np.int64, "Int64") if has_gaps else np.array(values, dtype=np.int64)


def _masked(values: Sequence[Any], type_: type[np.generic], dtype: str) -> Any:
    mask = np.fromiter(map(_is_gap, values), dtype=bool, count=len(values))
    filled = [type_(0) if gap else value for value, gap in zip(values, mask, strict=True)]
    made = pd.array(np.array(filled, dtype=type_), dtype=dtype)  # type: ignore[call-overload]
    made[mask] = pd.NA
    return made


def _mixed(values: Sequence[Any], has_gaps: bool) -> Any:
    kept = all(
        -_EXACT_FLOAT <= value <= _EXACT_FLOAT
        for value in values
        if isinstance(value, (int, np.integer))
    )
    return _floats(values, has_gaps) if kept else None


def _floats(values: Sequence[Any], has_gaps: bool) -> Any:
    if has_gaps:
        values = [np.nan if _is_gap(value) else value for value in values]
    return np.array(values, dtype=np.float64)


def _texts(values: Sequence[Any], has_gaps: bool) -> Any:
    texts = [None if _is_gap(value) else str(value) for value in values] if has_gaps else values
    try:
        return pd.Series(list(texts))
    except UnicodeEncodeError:  # lone surrogates
        return None


def _moments(values: Sequence[Any], has_gaps: bool) -> Any:
    known = [value for value in values if not _is_gap(value)] if has_gaps else values
    zones = {value.tzinfo for value in known}
    if len(zones) > 1 or any(value.fold for value in known):
        return None
    (zone,) = zones
    if zone is not None and zone is not datetime.UTC:
        return None
    bare = [None if _is_gap(value) else value.replace(tzinfo=None) for value in values]
    return utc(np.array(bare, "M8[us]")) if zone else pd.array(np.array(bare, "M8[us]"))


def utc(moments: np.ndarray[Any, Any]) -> Any:
    """Return moments in UTC, dtype ``datetime64``, as a column with that time zone."""
    return pd.DatetimeIndex(moments).tz_localize("UTC").array


def _durations(values: Sequence[Any], _has_gaps: bool) -> Any:
    if any(abs(value) > _LONGEST for value in values if not _is_gap(value)):
        return None
    return np.array([None if _is_gap(value) else value for value in values], "m8[us]")


def _from_numpy(values: Sequence[Any], _has_gaps: bool) -> Any:
    dtypes: set[Any] = {value.dtype for value in values if isinstance(value, np.generic)}
    if len(dtypes) > 1:
        return None
    (dtype,) = dtypes
    unit, count = np.datetime_data(dtype)
    if unit not in _UNITS or count != 1:
        return None
    return np.array([None if _is_gap(value) else value for value in values], dtype)


def _from_pandas(values: Sequence[Any], _has_gaps: bool) -> Any:
    """Let pandas say what unit and zone they have, if it then gives them back."""
    try:
        column = pd.Series(list(values))
    except (ValueError, OverflowError):
        return None
    if column.dtype.kind not in "mM":
        return None
    back = zip(column, values, strict=True)
    return column if all(_is_gap(old) or new == old for new, old in back) else None


_OF_TYPE: dict[type, _Make] = {
    datetime.datetime: _moments,
    datetime.timedelta: _durations,
    np.datetime64: _from_numpy,
    np.timedelta64: _from_numpy,
    pd.Timestamp: _from_pandas,
    pd.Timedelta: _from_pandas,
}
"""Makers for values of one type."""


def _is_gap(value: Any) -> bool:
    return type(value) in _MISSING
