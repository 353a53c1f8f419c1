"""Codecs of pandas scalars and of pandas' arrays, each in the memory it has: NumPy's or Arrow's."""

from __future__ import annotations

import inspect
import itertools
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray
from pandas.tseries.frequencies import to_offset

from mltraq_prefect.codecs.arrow_codec import read_arrow, write_arrow
from mltraq_prefect.codecs.numpy_codec import read_array, write_array
from mltraq_prefect.codecs.pandas_zones import read_zone, write_zone
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    AbsentError,
    FormatError,
    Node,
    RefusalError,
    expect,
    register,
    unpack,
)
from mltraq_prefect.codecs.writer import Writer

MAX_FREQ = 64
OBJECTS = "$objects"
_UNITS = ("s", "ms", "us", "ns")


def write_freq(freq: Any) -> str | None:
    """Return the text of a frequency.

    Raises:
        RefusalError: Its text does not give the frequency back (custom calendars).
    """
    if freq is None:
        return None
    text: str = freq.freqstr
    try:
        same = to_offset(text) == freq
    except ValueError:
        same = False
    if not same or len(text) > MAX_FREQ:
        raise RefusalError(freq, f"a frequency that {text!r} does not describe; set freq to None")
    return text


def read_freq(node: Node) -> Any:
    """Return the frequency of a node."""
    if node is None:
        return None
    if len(expect(node, str)) > MAX_FREQ:
        raise FormatError("a frequency's text is too long")
    return to_offset(node)


def _write_constant(_: Any, __: Writer) -> Node:
    return None


def _read_nat(argument: Node, _: Reader) -> Any:
    expect(argument, type(None))
    return pd.NaT


def _read_na(argument: Node, _: Reader) -> Any:
    expect(argument, type(None))
    return pd.NA


def _write_timestamp(value: pd.Timestamp, _: Writer) -> Node:
    count = int(value.asm8.view("i8"))
    return [count, value.unit, value.fold, write_zone(value.tz)]


def _read_timestamp(argument: Node, _: Reader) -> Any:
    count, unit, fold, zone = unpack(argument, int, str, int, None)
    value = pd.Timestamp(np.datetime64(count, _unit(unit)))
    if zone is not None:
        value = value.tz_localize("UTC").tz_convert(read_zone(zone))
    return _not_nat(value if value.fold == fold else value.replace(fold=fold))


def _write_timedelta(value: pd.Timedelta, _: Writer) -> Node:
    return [int(value.asm8.view("i8")), value.unit]


def _read_timedelta(argument: Node, _: Reader) -> Any:
    count, unit = unpack(argument, int, str)
    return _not_nat(pd.Timedelta(np.timedelta64(count, _unit(unit))))


def _unit(unit: str) -> Any:
    if unit not in _UNITS:
        raise FormatError(f"unit {unit[:10]!r} is unknown")
    return unit


def _not_nat(value: Any) -> Any:
    if value is pd.NaT:
        raise FormatError("NaT has a tag of its own")
    return value


def _write_period(value: pd.Period, _: Writer) -> Node:
    return [value.ordinal, write_freq(value.freq)]


def _read_period(argument: Node, _: Reader) -> Any:
    ordinal, freq = unpack(argument, int, str)
    return _not_nat(pd.Period(ordinal=ordinal, freq=read_freq(freq)))


def _write_interval(value: pd.Interval[Any], writer: Writer) -> Node:
    left = writer.child(value, value.left, ".left")
    return [left, writer.child(value, value.right, ".right"), value.closed]


def _read_interval(argument: Node, reader: Reader) -> Any:
    left, right, closed = unpack(argument, None, None, str)
    return pd.Interval(reader.part(left), reader.part(right), closed)


def write_column(owner: Any, writer: Writer) -> Node:
    """Return the node of the values of a series or index."""
    if isinstance(owner.dtype, np.dtype):
        return _write_values(owner.to_numpy(), writer, owner)
    return writer.child(owner, owner.array, ".array")


def _write_values(array: Any, writer: Writer, owner: Any) -> Node:
    if array.dtype != object:
        return {"$np.array": write_array(array)}
    return {OBJECTS: writer.nodes(owner, array.tolist(), lambda _, i: f".iloc[{i}]")}


def read_column(node: Node, reader: Reader) -> Any:
    """Return the values of a series or index: a NumPy or pandas array of one dimension."""
    if list(expect(node, dict)) == [OBJECTS]:
        return _objects(reader.values(expect(node[OBJECTS], list)))
    values = reader.value(node)
    if not isinstance(values, (np.ndarray, ExtensionArray)) or values.ndim != 1:
        raise FormatError("a column that is not an array of one dimension")
    return values


def _objects(cells: list[Any]) -> np.ndarray[Any, np.dtype[np.object_]]:
    values = np.empty(len(cells), object)
    for i, cell in enumerate(cells):
        values[i] = cell
    return values


def _write_masked(value: Any, _: Writer) -> Node:
    """Values under the mask are written as zeros."""
    values = value.to_numpy(dtype=value.dtype.numpy_dtype, na_value=False)
    return [write_array(values), write_array(value.isna())]


_MASKED = {
    "b": pd.arrays.BooleanArray,
    "i": pd.arrays.IntegerArray,
    "u": pd.arrays.IntegerArray,
    "f": pd.arrays.FloatingArray,
}


def _read_masked(argument: Node, reader: Reader) -> Any:
    values, mask = (read_array(node, reader) for node in unpack(argument, list, list))
    if values.ndim != 1:
        raise FormatError("a masked array of more than one dimension")
    return _MASKED[values.dtype.kind](values, mask)


def _write_categorical(value: pd.Categorical, writer: Writer) -> Node:
    categories = writer.child(value, value.categories, ".categories")
    return [write_array(value.codes), categories, bool(value.ordered)]


def _read_categorical(argument: Node, reader: Reader) -> Any:
    codes, categories, ordered = unpack(argument, list, None, bool)
    dtype = pd.CategoricalDtype(read_index(categories, reader), ordered=ordered)
    return pd.Categorical.from_codes(read_array(codes, reader), dtype=dtype)


def read_index(node: Node, reader: Reader) -> pd.Index:
    """Return an index from its node."""
    index = reader.part(node)
    if not isinstance(index, pd.Index):
        raise FormatError("an index expected")
    return index


def _write_datetimes(value: Any, _: Writer) -> Node:
    """Instants in UTC, zone."""
    instants = value.tz_convert("UTC").tz_localize(None) if value.tz is not None else value
    array = write_array(instants.to_numpy())
    return [array, write_zone(value.tz)]


def _read_datetimes(argument: Node, reader: Reader) -> Any:
    node, zone = unpack(argument, list, None)
    index = pd.DatetimeIndex(read_array(node, reader), copy=False)
    if zone is not None:
        index = index.tz_localize("UTC").tz_convert(read_zone(zone))
    return index.array


def _write_timedeltas(value: Any, _: Writer) -> Node:
    return write_array(value.to_numpy())


def _read_timedeltas(argument: Node, reader: Reader) -> Any:
    return pd.TimedeltaIndex(read_array(argument, reader), copy=False).array


def _write_periods(value: Any, _: Writer) -> Node:
    return [write_array(value.asi8), write_freq(value.freq)]


def _read_periods(argument: Node, reader: Reader) -> Any:
    node, freq = unpack(argument, list, str)
    kind: Any = pd.PeriodIndex
    return kind.from_ordinals(read_array(node, reader), freq=read_freq(freq)).array


def _write_intervals(value: Any, writer: Writer) -> Node:
    left = writer.child(value, value.left, ".left")
    return [left, writer.child(value, value.right, ".right"), value.closed]


def _read_intervals(argument: Node, reader: Reader) -> Any:
    left, right, closed = unpack(argument, None, None, str)
    bounds = read_index(left, reader), read_index(right, reader)
    return pd.arrays.IntervalArray.from_arrays(*bounds, closed)


def _write_strings(value: Any, _: Writer) -> Node:
    """Storage, missing value, Arrow array."""
    storage = value.dtype.storage.removesuffix("_numpy")
    missing = "NA" if value.dtype.na_value is pd.NA else "nan"
    try:
        array = value.__arrow_array__()
    except UnicodeEncodeError:
        raise RefusalError(value, "lone surrogates in text; use a column of dtype object") from None
    return [storage, missing, write_arrow(array)]


_MISSING_VALUES: dict[str, Any] = {"NA": pd.NA, "nan": np.nan}


_TAKES_MISSING = "na_value" in inspect.signature(pd.StringDtype).parameters


def _string_dtype(storage: str, missing: str) -> Any:
    """Return a dtype of strings; pandas 2.2 has those with NaN in Arrow's memory alone."""
    if storage not in ("python", "pyarrow") or missing not in _MISSING_VALUES:
        raise FormatError("strings are in Python or pyarrow, and NA or nan is missing")
    kind: Any = pd.StringDtype
    if _TAKES_MISSING:
        return kind(storage, na_value=_MISSING_VALUES[missing])
    if (storage, missing) == ("python", "nan"):
        raise AbsentError("text with NaN in Python's memory", "pandas", pd.__version__, ">=2.3")
    return kind(storage if missing == "NA" else "pyarrow_numpy")


def _kinds_of_strings() -> set[type]:
    found = set()
    for storage, missing in itertools.product(("python", "pyarrow"), _MISSING_VALUES):
        with suppress(AbsentError):
            found.add(type(pd.array([], dtype=_string_dtype(storage, missing))))
    return found


def _read_strings(argument: Node, reader: Reader) -> Any:
    storage, missing, node = unpack(argument, str, str, list)
    dtype = _string_dtype(storage, missing)
    array = read_arrow(node, reader)
    if str(array.type) not in ("string", "large_string"):
        raise FormatError("strings of another type")
    found = dtype.__from_arrow__(array)
    if type(found) is dtype.construct_array_type():
        return found
    return pd.array(found.to_numpy(object), dtype=dtype)  # pandas 2.3 has made one with NA


def _write_arrow(value: Any, _: Writer) -> Node:
    return write_arrow(value.__arrow_array__())


def _read_arrow(argument: Node, reader: Reader) -> Any:
    return pd.arrays.ArrowExtensionArray(read_arrow(argument, reader))


def _write_numpy(value: Any, writer: Writer) -> Node:
    return _write_values(value.to_numpy(), writer, value)


def _read_numpy(argument: Node, reader: Reader) -> Any:
    return pd.arrays.NumpyExtensionArray(read_column(argument, reader))


def _register(kind: type, encode: Any, decode: Any, name: str | None = None) -> None:
    tag = f"$pd.{name or kind.__name__}"
    register(kind, tag, lambda value, writer: {tag: encode(value, writer)}, decode)


_register(type(pd.NaT), _write_constant, _read_nat, "NaT")
_register(type(pd.NA), _write_constant, _read_na, "NA")
_register(pd.Timestamp, _write_timestamp, _read_timestamp)
_register(pd.Timedelta, _write_timedelta, _read_timedelta)
_register(pd.Period, _write_period, _read_period)
_register(pd.Interval, _write_interval, _read_interval)
_register(pd.Categorical, _write_categorical, _read_categorical)
_register(pd.arrays.DatetimeArray, _write_datetimes, _read_datetimes)
_register(pd.arrays.TimedeltaArray, _write_timedeltas, _read_timedeltas)
_register(pd.arrays.PeriodArray, _write_periods, _read_periods)
_register(pd.arrays.IntervalArray, _write_intervals, _read_intervals)
_register(pd.arrays.IntegerArray, _write_masked, _read_masked, "Masked")
_register(pd.arrays.FloatingArray, _write_masked, _read_masked, "Masked")
_register(pd.arrays.BooleanArray, _write_masked, _read_masked, "Masked")
for _kind in _kinds_of_strings():
    _register(_kind, _write_strings, _read_strings, "Strings")
_register(pd.arrays.ArrowExtensionArray, _write_arrow, _read_arrow, "Arrow")
_register(pd.arrays.NumpyExtensionArray, _write_numpy, _read_numpy, "NumPy")
