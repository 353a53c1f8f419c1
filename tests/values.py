"""Hypothesis strategies for every supported value, and what it means that two are identical.

`assert_identical` compares value, type, dtype, shape, memory order, index, names and order. NaNs
are compared by their bits.
"""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import itertools
import pathlib
import struct
import uuid
import zoneinfo
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.codecs import stacks

# Identity


def assert_identical(left: Any, right: Any, path: str = "value") -> None:
    """Fail unless the values are indistinguishable."""
    assert type(left) is type(right), f"{path}: {type(left)} became {type(right)}"
    for kinds, compare in _COMPARE:
        if isinstance(left, kinds):
            return compare(left, right, path)
    raise AssertionError(f"{path}: no comparison for {type(left)}")


def _same(left: Any, right: Any, path: str) -> None:
    assert left == right, f"{path}: {left!r} became {right!r}"


def _same_singleton(left: Any, right: Any, path: str) -> None:
    assert left is right, f"{path}: {left!r} became {right!r}"


def _same_float(left: float, right: float, path: str) -> None:
    assert struct.pack(">d", left) == struct.pack(">d", right), f"{path}: {left!r} became {right!r}"


def _same_complex(left: complex, right: complex, path: str) -> None:
    _same_float(left.real, right.real, f"{path}.real")
    _same_float(left.imag, right.imag, f"{path}.imag")


def _same_text(left: Any, right: Any, path: str) -> None:
    assert str(left) == str(right), f"{path}: {left!r} became {right!r}"


def _same_np_text(left: np.str_, right: np.str_, path: str) -> None:
    assert str.__str__(left) == str.__str__(right), f"{path}: {left!r} became {right!r}"


def _same_items(left: Any, right: Any, path: str) -> None:
    assert len(left) == len(right), f"{path}: {len(left)} items became {len(right)}"
    for i, pair in enumerate(zip(left, right, strict=True)):
        assert_identical(*pair, f"{path}[{i}]")


def _same_set(left: Any, right: Any, path: str) -> None:
    _same_items(sorted(left, key=_by_repr), sorted(right, key=_by_repr), path)


def _by_repr(value: Any) -> tuple[str, str]:
    if isinstance(value, frozenset):
        return "frozenset", repr(sorted(map(_by_repr, value)))
    if isinstance(value, tuple):
        return "tuple", repr(list(map(_by_repr, value)))
    return type(value).__name__, repr(value)


def _same_dict(left: dict[Any, Any], right: dict[Any, Any], path: str) -> None:
    _same_items(list(left), list(right), f"{path}.keys()")
    for i, pair in enumerate(zip(left.values(), right.values(), strict=True)):
        assert_identical(*pair, f"{path}.values()[{i}]")


def _same_zone(left: dt.tzinfo | None, right: dt.tzinfo | None, path: str) -> None:
    assert type(left) is type(right), f"{path}: {left!r} became {right!r}"
    assert repr(left) == repr(right), f"{path}: {left!r} became {right!r}"


def _same_clock(left: Any, right: Any, path: str) -> None:
    assert left.replace(tzinfo=None) == right.replace(tzinfo=None), f"{path}: {left!r}, {right!r}"
    assert left.fold == right.fold, f"{path}.fold"
    _same_zone(left.tzinfo, right.tzinfo, f"{path}.tzinfo")


def _same_timestamp(left: pd.Timestamp, right: pd.Timestamp, path: str) -> None:
    assert left.unit == right.unit, f"{path}.unit"
    _same_clock(left, right, path)
    _same_items([left.asm8.view("i8")], [right.asm8.view("i8")], path)


def _same_timedelta(left: pd.Timedelta, right: pd.Timedelta, path: str) -> None:
    assert left.unit == right.unit, f"{path}.unit"
    assert left.asm8.view("i8") == right.asm8.view("i8"), path


def _same_dtype(left: Any, right: Any, path: str) -> None:
    assert left == right, f"{path}: {left!r} became {right!r}"
    describe = _describe_numpy if isinstance(left, np.dtype) else repr
    assert describe(left) == describe(right), f"{path}: {left!r} became {right!r}"


def _describe_numpy(dtype: np.dtype) -> Any:
    aligned = dtype.isalignedstruct
    return repr(dtype) if dtype.kind == "T" else (dtype.str, dtype.type, dtype.fields, aligned)


def _same_array(left: np.ndarray, right: np.ndarray, path: str) -> None:
    _same_dtype(left.dtype, right.dtype, f"{path}.dtype")
    assert left.shape == right.shape, f"{path}.shape: {left.shape} became {right.shape}"
    c_order = left.flags.c_contiguous or not left.flags.f_contiguous
    assert right.flags.c_contiguous == c_order, f"{path}.flags"
    assert right.flags.f_contiguous or c_order, f"{path}.flags"
    if left.dtype.kind in "OT":
        return _same_items(left.ravel().tolist(), right.ravel().tolist(), path)
    return _same_memory(left, right, path)


def _same_memory(left: np.ndarray, right: np.ndarray, path: str) -> None:
    for name in left.dtype.names or ():
        _same_memory(left[name], right[name], f"{path}[{name!r}]")
    if left.dtype.char in "gG":  # their bytes include padding, which is not part of the value
        assert np.array_equal(left, right, equal_nan=True), f"{path}: {left!r} became {right!r}"
        for part in ("real", "imag"):
            signs = (np.signbit(getattr(side, part)) for side in (left, right))
            assert np.array_equal(*signs), f"{path}: {left!r} became {right!r}"
    elif left.dtype.names is None:
        assert left.tobytes() == right.tobytes(), f"{path}: {left!r} became {right!r}"


def _same_scalar(left: np.generic, right: np.generic, path: str) -> None:
    _same_dtype(left.dtype, right.dtype, f"{path}.dtype")
    _same_memory(np.asarray(left), np.asarray(right), path)


def _same_period(left: pd.Period, right: pd.Period, path: str) -> None:
    assert (left.ordinal, left.freqstr) == (right.ordinal, right.freqstr), path


def _same_interval(left: Any, right: Any, path: str) -> None:
    assert left.closed == right.closed, f"{path}.closed"
    assert_identical(left.left, right.left, f"{path}.left")
    assert_identical(left.right, right.right, f"{path}.right")


def _same_dtyped(left: Any, right: Any, path: str) -> None:
    _same_dtype(left.dtype, right.dtype, f"{path}.dtype")
    assert len(left) == len(right), path


def _same_masked(left: Any, right: Any, path: str) -> None:
    _same_dtyped(left, right, path)
    _same_array(left.isna(), right.isna(), f"{path}.isna()")
    for array in (left, right):
        assert len(array) == len(array.isna())
    kind = left.dtype.numpy_dtype
    _same_array(left.to_numpy(kind, na_value=0), right.to_numpy(kind, na_value=0), path)


def _same_categorical(left: Any, right: Any, path: str) -> None:
    assert left.ordered == right.ordered, f"{path}.ordered"
    _same_array(np.asarray(left.codes), np.asarray(right.codes), f"{path}.codes")
    assert_identical(left.categories, right.categories, f"{path}.categories")


def _same_ordinals(left: Any, right: Any, path: str) -> None:
    _same_dtyped(left, right, path)
    assert left.asi8.tolist() == right.asi8.tolist(), path
    if left.dtype.kind == "M":
        _same_zone(getattr(left, "tz", None), getattr(right, "tz", None), f"{path}.tz")


def _same_arrow(left: Any, right: Any, path: str) -> None:
    _same_dtyped(left, right, path)
    arrays = [
        pa.chunked_array([array.__arrow_array__()]).combine_chunks()
        if isinstance(array.__arrow_array__(), pa.Array)
        else array.__arrow_array__().combine_chunks()
        for array in (left, right)
    ]
    assert arrays[0].type.equals(arrays[1].type, check_metadata=True), path
    assert repr(arrays[0].to_pylist()) == repr(arrays[1].to_pylist()), path


def _same_numpy_extension(left: Any, right: Any, path: str) -> None:
    _same_array(left.to_numpy(), right.to_numpy(), path)


def _same_index(left: Any, right: Any, path: str) -> None:
    _same_dtyped(left, right, path)
    assert_identical(left.name, right.name, f"{path}.name")
    assert getattr(left, "freq", None) == getattr(right, "freq", None), f"{path}.freq"
    _same_values(left, right, path)


def _same_range(left: pd.RangeIndex, right: pd.RangeIndex, path: str) -> None:
    assert (left.start, left.stop, left.step) == (right.start, right.stop, right.step), path
    assert_identical(left.name, right.name, f"{path}.name")


def _same_multi(left: Any, right: Any, path: str) -> None:
    _same_items(list(left.names), list(right.names), f"{path}.names")
    _same_items(list(left.levels), list(right.levels), f"{path}.levels")
    assert left.sortorder == right.sortorder, f"{path}.sortorder"
    for a, b in zip(left.codes, right.codes, strict=True):
        assert a.dtype == b.dtype, f"{path}.codes"
        assert a.tolist() == b.tolist(), f"{path}.codes"


def _same_values(left: Any, right: Any, path: str) -> None:
    if isinstance(left.dtype, np.dtype):
        # A column of a block of pandas 2 has the others between its items: that is no value.
        _same_array(*(np.ascontiguousarray(side.to_numpy()) for side in (left, right)), path)
    else:
        assert_identical(left.array, right.array, f"{path}.array")


def _same_extras(left: Any, right: Any, path: str) -> None:
    assert_identical(left.attrs, right.attrs, f"{path}.attrs")
    assert left.flags == right.flags, f"{path}.flags"
    assert_identical(left.index, right.index, f"{path}.index")


def _same_series(left: Any, right: Any, path: str) -> None:
    _same_dtyped(left, right, path)
    assert_identical(left.name, right.name, f"{path}.name")
    _same_extras(left, right, path)
    _same_values(left, right, path)


def _same_frame(left: pd.DataFrame, right: pd.DataFrame, path: str) -> None:
    assert left.shape == right.shape, f"{path}.shape"
    assert_identical(left.columns, right.columns, f"{path}.columns")
    _same_extras(left, right, path)
    for i in range(left.shape[1]):
        a, b = left.iloc[:, i], right.iloc[:, i]
        _same_dtyped(a, b, f"{path}.iloc[:, {i}]")
        _same_values(a, b, f"{path}.iloc[:, {i}]")


_COMPARE: tuple[tuple[Any, Any], ...] = (
    ((type(pd.NaT), type(pd.NA)), _same_singleton),
    (pd.Timestamp, _same_timestamp),
    (pd.Timedelta, _same_timedelta),
    (pd.Period, _same_period),
    (pd.Interval, _same_interval),
    (np.str_, _same_np_text),
    (np.bytes_, _same),
    (np.generic, _same_scalar),
    (np.ndarray, _same_array),
    (float, _same_float),
    (complex, _same_complex),
    (decimal.Decimal, _same_text),
    ((list, tuple), _same_items),
    ((set, frozenset), _same_set),
    (dict, _same_dict),
    ((dt.datetime, dt.time), _same_clock),
    ((type(None), bool, int, str, bytes, uuid.UUID, dt.date, dt.timedelta), _same),
    ((fractions.Fraction, pathlib.PurePath), _same),
    ((pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray), _same_masked),
    (pd.Categorical, _same_categorical),
    ((pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray), _same_ordinals),
    (pd.arrays.IntervalArray, _same_interval),
    (
        (pd.arrays.ArrowStringArray, pd.arrays.StringArray, pd.arrays.ArrowExtensionArray),
        _same_arrow,
    ),
    (pd.arrays.NumpyExtensionArray, _same_numpy_extension),
    (pd.RangeIndex, _same_range),
    (pd.MultiIndex, _same_multi),
    (pd.Index, _same_index),
    (pd.Series, _same_series),
    (pd.DataFrame, _same_frame),
)

# Python

ZONES = (
    None,
    dt.UTC,
    zoneinfo.ZoneInfo("UTC"),
    zoneinfo.ZoneInfo("Europe/Berlin"),
    zoneinfo.ZoneInfo("America/New_York"),
    zoneinfo.ZoneInfo("Asia/Kolkata"),
)


def zones() -> st.SearchStrategy[dt.tzinfo | None]:
    offsets = st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))
    named = st.builds(dt.timezone, offsets, st.text(max_size=3))
    return st.sampled_from(ZONES) | st.builds(dt.timezone, offsets) | named


def any_text() -> st.SearchStrategy[str]:
    """Text of any code points, lone surrogates and NUL among them."""
    return st.text(st.characters(codec=None), max_size=8)


def datetimes() -> st.SearchStrategy[dt.datetime]:
    return st.builds(
        lambda value, zone, fold: value.replace(tzinfo=zone, fold=fold),
        st.datetimes(),
        zones(),
        st.integers(0, 1),
    )


def times() -> st.SearchStrategy[dt.time]:
    fixed = st.sampled_from([None, dt.UTC])
    return st.builds(
        lambda value, zone, fold: value.replace(tzinfo=zone, fold=fold),
        st.times(),
        fixed | zones(),
        st.integers(0, 1),
    )


def python_scalars() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**63, -(2**63), 2**64, -(2**63) - 1, 10**400, 0]),
        st.floats(),
        st.sampled_from([-0.0, struct.unpack(">d", b"\xff\xf8\0\0\0\0\0\x07")[0]]),
        st.complex_numbers(),
        any_text(),
        st.binary(max_size=8),
        st.integers(250, 260).map(bytes),
        st.decimals(),
        st.sampled_from(
            [decimal.Decimal("-0.00"), decimal.Decimal("sNaN12"), decimal.Decimal("1E+9")]
        ),
        st.uuids(),
        datetimes(),
        st.dates(),
        times(),
        st.timedeltas(),
        st.fractions(),
        st.builds(
            lambda kind, text: kind(text.replace("\0", "")),
            st.sampled_from([pathlib.Path, pathlib.PurePosixPath, pathlib.PureWindowsPath]),
            any_text(),
        ),
    )


# NumPy

SCALAR_KINDS = (
    *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    *(np.float16, np.float32, np.float64, np.longdouble, np.complex64, np.complex128),
    *(np.clongdouble, np.longlong, np.ulonglong),
)
DATE_UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")


def simple_dtypes() -> st.SearchStrategy[np.dtype]:
    numeric = st.sampled_from([np.dtype(kind) for kind in SCALAR_KINDS])
    dates = st.builds(
        lambda kind, count, unit: np.dtype(f"{kind}8[{count}{unit}]"),
        st.sampled_from("mM"),
        st.sampled_from(["", "25"]),
        st.sampled_from(DATE_UNITS),
    )
    sized = st.builds(
        lambda kind, size: np.dtype(f"{kind}{size}"), st.sampled_from("SUV"), st.integers(1, 5)
    )
    # Not those without a unit: NumPy cannot print them, and so neither can Hypothesis.
    return st.builds(
        lambda dtype, order: dtype.newbyteorder(order),
        numeric | dates | sized,
        st.sampled_from("<>"),
    )


def structured_dtypes() -> st.SearchStrategy[np.dtype]:
    def combine(bases: list[np.dtype], shapes: list[tuple[int, ...]], align: bool) -> np.dtype:
        fields = [
            (f"field {i}", base, shape)
            for i, (base, shape) in enumerate(zip(bases, shapes, strict=True))
        ]
        return np.dtype(fields, align=align)

    shapes = st.lists(st.sampled_from([(), (2,), (2, 3)]), min_size=3, max_size=3)
    level = st.lists(simple_dtypes(), min_size=3, max_size=3)
    flat = st.builds(combine, level, shapes, st.booleans())
    nested = st.builds(
        combine, st.lists(simple_dtypes() | flat, min_size=3, max_size=3), shapes, st.booleans()
    )
    return flat | nested


def dtypes() -> st.SearchStrategy[np.dtype]:
    return simple_dtypes() | structured_dtypes()


def _fill(dtype: np.dtype, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return an array of random items; its memory is that of valid items only."""
    rng = np.random.default_rng(seed)
    array = np.zeros(shape, dtype)
    if dtype.names is not None:
        for name in dtype.names:
            field = array[name]
            field[...] = _fill(field.dtype, field.shape, seed + 1)
        return array
    raw = rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8)
    if dtype.kind == "b":
        raw &= 1
    if dtype.kind == "U":
        return rng.choice(["", "a", "\xe9\0x", "\U0001f600"], shape).astype(dtype)
    if dtype.kind in "gG" or dtype.char in "gG":
        return rng.standard_normal(shape).astype(dtype)
    return np.ndarray(shape, dtype, buffer=raw.tobytes() or b"").copy()


def arrays() -> st.SearchStrategy[np.ndarray]:
    """Arrays of any dtype, order and stride."""

    def build(dtype: np.dtype, shape: tuple[int, ...], seed: int, how: str) -> np.ndarray:
        array = _fill(dtype, shape, seed)
        if how == "F":
            return np.asfortranarray(array) if array.ndim else array
        if how == "strided" and array.ndim:
            return array[::-1]
        return array.T if how == "T" else array

    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    how = st.sampled_from(["C", "F", "strided", "T"])
    return st.builds(build, dtypes(), shapes, st.integers(0, 2**32), how)


def string_dtypes() -> list[Any]:
    """Return the dtypes of text that the installed pandas has."""
    found = []
    for storage, missing in itertools.product(("python", "pyarrow"), (pd.NA, np.nan)):
        with suppress(stacks.AbsentError):
            found.append(stacks.text(storage, missing).dtype)
    return found


def string_arrays() -> st.SearchStrategy[np.ndarray]:
    """Arrays of NumPy's variable-width strings, from NumPy 2 on."""
    if not hasattr(np.dtypes, "StringDType"):
        return st.nothing()

    def build(texts: list[str], missing: dict[str, Any], coerce: bool) -> np.ndarray:
        dtype = np.dtypes.StringDType(coerce=coerce, **missing)
        array = np.array([*texts, "x" * 40, ""], dtype=dtype)
        if missing:
            array[0] = missing["na_object"]
        return array

    options = [{}, {"na_object": None}, {"na_object": pd.NA}, {"na_object": float("nan")}]
    texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=4), max_size=4)
    return st.builds(build, texts, st.sampled_from(options), st.booleans())


def numpy_scalars() -> st.SearchStrategy[Any]:
    scalars = st.builds(
        lambda dtype, seed: _fill(dtype, (1,), seed)[0], dtypes(), st.integers(0, 99)
    )
    return scalars | any_text().map(np.str_) | st.binary(max_size=5).map(np.bytes_)


# pandas

PERIODS = ("D", "M", "Q-DEC", "h", "ns", "2D", "Y-JAN")
OFFSETS = ("D", "h", "ME", "B", "2W-MON", "QE-DEC", "15min", "MS")
PANDAS_UNITS = ("s", "ms", "us", "ns")
PANDAS_ZONES = (*filter(None, ZONES), dt.timezone(dt.timedelta(hours=2)))


def _instants() -> st.SearchStrategy[int]:
    return st.integers(-(2**33), 2**33)


def pandas_scalars() -> st.SearchStrategy[Any]:
    units = st.sampled_from(PANDAS_UNITS)

    def stamp(count: int, unit: str, zone: dt.tzinfo | None) -> pd.Timestamp:
        value = pd.Timestamp(np.datetime64(count, unit))
        return value.tz_localize("UTC").tz_convert(zone) if zone else value

    return st.one_of(
        st.sampled_from([pd.NA, pd.NaT]),
        st.builds(stamp, _instants(), units, st.sampled_from([None, *PANDAS_ZONES])),
        st.builds(
            lambda count, unit: pd.Timedelta(np.timedelta64(count, unit)), _instants(), units
        ),
        st.builds(
            lambda n, freq: pd.Period(ordinal=n, freq=freq),
            st.integers(0, 999),
            st.sampled_from(PERIODS),
        ),
        st.builds(
            lambda a, b, closed: pd.Interval(min(a, b), max(a, b), closed),
            st.integers(-9, 9),
            st.floats(-9, 9),
            st.sampled_from(["left", "right", "both", "neither"]),
        ),
    )


ARROW_TYPES = (
    *(pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary()),
    *(pa.large_string(), pa.date32(), pa.timestamp("ms"), pa.timestamp("us", "Europe/Berlin")),
    *(pa.duration("ns"), pa.time64("us"), pa.decimal128(9, 2), pa.binary(3), pa.null()),
    *(pa.list_(pa.int16()), pa.large_list(pa.string()), pa.dictionary(pa.int8(), pa.string())),
    pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]),
)
_ARROW_ITEMS: dict[str, Any] = {
    "bool": [True, False],
    "string": ["a", "", "\xe9\0"],
    "large_string": ["a", "", "\xe9\0"],
    "binary": [b"a", b"", b"\xff"],
    "fixed_size_binary[3]": [b"abc", b"\0\0\0"],
    "date32[day]": [dt.date(2024, 2, 29)],
    "time64[us]": [dt.time(1, 2, 3, 4)],
    "decimal128(9, 2)": [decimal.Decimal("1.50"), decimal.Decimal("-9.99")],
    "list<item: int16>": [[], [1, None, 3]],
    "large_list<item: string>": [[], ["a", None]],
    "dictionary<values=string, indices=int8, ordered=0>": ["a", "b"],
    "struct<a: int32, b: list<item: string>>": [{"a": 1, "b": ["x"]}, {"a": None, "b": None}],
    "null": [None],
}


def arrow_arrays() -> st.SearchStrategy[pa.Array]:
    """Arrow arrays, sliced ones among them."""

    def build(kind: pa.DataType, picks: list[int | None], start: int) -> pa.Array:
        items = _ARROW_ITEMS.get(str(kind), [0, 1, 100])
        values = [None if pick is None else items[pick % len(items)] for pick in picks]
        return pa.array(values, kind)[start:]

    picks = st.lists(st.none() | st.integers(0, 5), max_size=9)
    return st.builds(build, st.sampled_from(ARROW_TYPES), picks, st.integers(0, 3))


def pandas_arrays(length: int) -> st.SearchStrategy[Any]:
    """What a column or an index of a given length can hold, with missing values where it can."""

    def missing(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(st.none() | items, min_size=length, max_size=length)

    def stamps(counts: list[int], unit: str, zone: dt.tzinfo | None) -> Any:
        index = pd.DatetimeIndex(np.array(counts, f"M8[{unit}]"))
        return index.tz_localize("UTC").tz_convert(zone).array if zone else index.to_numpy()

    masked = ("Int8", "UInt64", "Int64", "Float32", "Float64", "boolean")
    strings = string_dtypes()
    kinds = [np.dtype(k) for k in ("i1", "u2", "i8", "u8", "f4", "f8", "bool", "c16", "m8[us]")]
    counts = st.lists(_instants(), min_size=length, max_size=length)
    labels = st.sampled_from(["a", "b", "c"])
    return st.one_of(
        st.builds(_fill, st.sampled_from(kinds), st.just((length,)), st.integers(0, 99)),
        st.builds(
            lambda items, dtype: pd.array(items, dtype=dtype),
            missing(st.booleans()),
            st.sampled_from(masked),
        ),
        st.builds(
            lambda items, dtype: pd.array(items, dtype=dtype),
            missing(st.text(st.characters(codec="utf-8"), max_size=4)),
            st.sampled_from(strings),
        ),
        st.builds(
            stamps, counts, st.sampled_from(PANDAS_UNITS), st.sampled_from([None, *PANDAS_ZONES])
        ),
        st.builds(
            lambda items, ordered: pd.Categorical(items, ["b", "a", "c"], ordered=ordered),
            missing(labels),
            st.booleans(),
        ),
        st.builds(
            lambda counts, freq: (
                pd.PeriodIndex.from_ordinals(np.array(counts, "i8") % 999, freq=freq).array
            ),
            counts,
            st.sampled_from(PERIODS),
        ),
        st.builds(
            lambda left, closed: pd.arrays.IntervalArray.from_arrays(
                np.array(left, "i8"), np.array(left, "i8") + 1, closed
            ),
            counts,
            st.sampled_from(["left", "both"]),
        ),
        st.builds(
            lambda items: _objects(items),
            st.lists(
                scalars() | st.lists(st.integers(), max_size=2), min_size=length, max_size=length
            ),
        ),
        st.builds(
            lambda items: pd.arrays.ArrowExtensionArray(pa.array(items, pa.decimal128(5, 1))),
            missing(st.sampled_from([decimal.Decimal("1.5"), decimal.Decimal("-2.5")])),
        ),
    )


def _objects(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def _dtype(values: Any) -> Any:
    return values.dtype


def names() -> st.SearchStrategy[Any]:
    """Names of series and indexes: any hashable value."""
    return (
        st.none()
        | st.text(max_size=4)
        | st.integers(-9, 9)
        | st.tuples(st.text(max_size=2), st.integers(0, 9))
    )


def indexes(length: int) -> st.SearchStrategy[pd.Index]:
    """Indexes of every kind, of a given length."""

    def plain(values: Any, name: Any) -> pd.Index:
        return pd.Index(values, dtype=_dtype(values), name=name)

    def dated(freq: str, zone: dt.tzinfo | None, name: Any) -> pd.Index:
        return pd.date_range("2024-01-01", periods=length, freq=freq, tz=zone, name=name)

    def multi(levels: list[Any], level_names: list[Any]) -> pd.MultiIndex:
        return pd.MultiIndex.from_arrays([_hashable(level) for level in levels], names=level_names)

    labels = st.lists(st.text(max_size=2) | st.integers(0, 3), min_size=length, max_size=length)
    columns = pandas_arrays(length).filter(lambda values: values.dtype != object)
    return st.one_of(
        st.builds(
            lambda a, b, name: pd.RangeIndex(a, a + b * length, b, name=name),
            st.integers(-9, 9),
            st.sampled_from([-2, 1, 3]),
            names(),
        ),
        st.builds(plain, columns, names()),
        st.builds(
            lambda items, name: pd.Index(_objects(items), dtype=object, name=name), labels, names()
        ),
        st.builds(dated, st.sampled_from(OFFSETS), st.sampled_from([None, *PANDAS_ZONES]), names()),
        st.builds(
            lambda name: pd.timedelta_range("1s", periods=length, freq="2s", name=name), names()
        ),
        st.builds(
            multi,
            st.lists(labels, min_size=2, max_size=2),
            st.lists(names(), min_size=2, max_size=2),
        ),
    )


def _hashable(items: list[Any]) -> pd.Index:
    return pd.Index(_objects(items), dtype=object)


def attributes() -> st.SearchStrategy[dict[Any, Any]]:
    return st.just({}) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)


def series() -> st.SearchStrategy[pd.Series]:
    def build(values: Any, index: pd.Index, name: Any, attrs: dict[Any, Any]) -> pd.Series:
        found = pd.Series(values, index=index, dtype=_dtype(values), name=name)
        found.attrs = attrs
        return found

    return st.integers(0, 4).flatmap(
        lambda n: st.builds(build, pandas_arrays(n), indexes(n), names(), attributes())
    )


def frames() -> st.SearchStrategy[pd.DataFrame]:
    """Frames with columns of any kind, duplicate and non-string column names among them."""

    def build(values: list[Any], index: pd.Index, columns: pd.Index, attrs: dict[Any, Any]) -> Any:
        data = {
            i: pd.Series(column, index=index, dtype=_dtype(column))
            for i, column in enumerate(values)
        }
        frame = pd.DataFrame(data, index=index)
        frame.columns = columns
        frame.attrs = attrs
        return frame

    def of(rows: int, width: int) -> st.SearchStrategy[pd.DataFrame]:
        columns = st.lists(pandas_arrays(rows), min_size=width, max_size=width)
        return st.builds(build, columns, indexes(rows), indexes(width), attributes())

    blocks = st.builds(
        lambda shape: pd.DataFrame(np.arange(np.prod(shape)).reshape(shape)),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
    )
    return st.tuples(st.integers(0, 3), st.integers(0, 4)).flatmap(lambda size: of(*size)) | blocks


# All together


def scalars() -> st.SearchStrategy[Any]:
    return python_scalars() | numpy_scalars() | pandas_scalars()


def hashables() -> st.SearchStrategy[Any]:
    """Keys of dicts and members of sets."""
    plain = scalars().filter(_is_hashable)
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
        max_leaves=4,
    )


def _is_hashable(value: Any) -> bool:
    try:
        return bool(repr((hash(value), value)))
    except (TypeError, ValueError, OverflowError):  # some datetime64 have no repr
        return False


def leaves() -> st.SearchStrategy[Any]:
    pandas_values = st.integers(0, 3).flatmap(lambda n: pandas_arrays(n) | indexes(n))
    bare = pandas_values.filter(
        lambda value: not (isinstance(value, np.ndarray) and value.dtype == object)
    )
    arrow = arrow_arrays().map(lambda array: pd.arrays.ArrowExtensionArray(array))
    return st.one_of(scalars(), arrays(), string_arrays(), bare, arrow, series(), frames())


def values() -> st.SearchStrategy[Any]:
    """Every supported value, nested at will."""
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(hashables(), inner, max_size=4),
            st.dictionaries(
                st.text(max_size=3) | st.sampled_from(["$", "$tuple", "$np.array"]),
                inner,
                max_size=3,
            ),
            st.sets(hashables(), max_size=4),
            st.frozensets(hashables(), max_size=4),
        ),
        max_leaves=8,
    )


def json_values() -> st.SearchStrategy[Any]:
    """Dicts and lists that JSON text keeps exactly."""
    numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    text = st.text(st.characters(codec="utf-8"), max_size=5)
    tree = st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=20,
    )
    return st.lists(tree, max_size=4) | st.dictionaries(text, tree, max_size=4)


def assert_same_experiment(found, expected):
    """Fail unless name, id, fields, and the params and fields of each run are the same."""
    assert (found.name, found.id_experiment) == (expected.name, expected.id_experiment)
    assert_identical(dict(expected.fields), dict(found.fields))
    assert list(found.runs) == list(expected.runs)
    for id_run, run in expected.runs.items():
        assert_identical(dict(run.params), dict(found.runs[id_run].params))
        assert set(found.runs[id_run].fields) == set(run.fields)
        for key, value in run.fields.items():
            assert_identical(value, found.runs[id_run].fields[key], key)
