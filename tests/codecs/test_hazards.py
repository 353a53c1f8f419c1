"""Values that other formats are known to change, and the properties of what is decoded."""

from __future__ import annotations

import decimal
import subprocess
import sys
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from mltraq_prefect import codecs
from mltraq_prefect.codecs import envelope
from mltraq_prefect.errors import UnsupportedType
from tests import values
from tests.values import assert_identical

CELLS = [1, 1.0, True, None, np.nan, pd.NA, "1", [1], (1,), {1}, {"a": 1}, {"b": 2}, b"1", 2**70]


def same(value: Any) -> Any:
    back = codecs.decode(codecs.encode(value))
    assert_identical(value, back)
    return back


@pytest.mark.parametrize(
    "value",
    [
        pd.Series(CELLS, dtype=object),
        pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]),
        pd.DataFrame([[1, 2], [3, 4]], columns=["a", 1]),
        pd.DataFrame([[1, 2.0], [3, 4.0]], columns=pd.Index([("a", 1), None], tupleize_cols=False)),
        pd.DataFrame(index=[1, 2]),
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame({"a": [1, 2]}, index=["x", "x"]),
        pd.DataFrame({"a": [1 + 2j]}),
        pd.DataFrame(
            {"a": pd.array(["x"], dtype="category"), "b": [pd.Timestamp("2024", tz="UTC")]}
        ),
        pd.Series(pd.Categorical(["b", None], ["c", "b", "a"], ordered=True)),
        pd.Series(pd.Categorical([], [])),
        pd.Series([1, 2], index=pd.CategoricalIndex(["b", "a"], name="kind")),
        pd.Series([pd.Timestamp("1700-01-01"), pd.NaT]),
        pd.Series(pd.to_datetime(["2024-10-27 02:30", "2024-10-27 02:30"])).dt.tz_localize(
            "Europe/Berlin", ambiguous=np.array([True, False])
        ),
        pd.Timestamp(1_729_992_600, unit="s", tz="Europe/Berlin"),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])[:1],
        pd.MultiIndex.from_arrays([[1, None], ["x", "y"]], names=["same", "same"]),
        pd.MultiIndex.from_arrays([pd.date_range("2024", periods=2, tz="UTC"), [1, 2]]),
        pd.RangeIndex(10, 0, -3),
        pd.Index([], dtype="float64"),
        pd.Index([True, False]),
        pd.Index(["a", None]),
        pd.Series(["", ""]),
        pd.Series(["\xe9", None, "\U0001f600"]),
        pd.date_range("2024-03-30", periods=4, freq="D", tz="Europe/Berlin"),
        pd.date_range("2024-01-01", periods=4, freq="D")[::2],
        pd.IntervalIndex.from_breaks(pd.date_range("2024", periods=3, tz="UTC")),
        pd.arrays.FloatingArray(np.array([1.0, np.nan, 2.0]), np.array([False, False, True])),
        pd.array([2**63], dtype="UInt64"),
        pd.Series(pa.chunked_array([["a"], ["b", None]]).to_pandas(types_mapper=pd.ArrowDtype)),
        pd.Series(["x" * 100, "y"]).iloc[1:],
        np.array(3.5),
        np.zeros((0, 3), order="F"),
        np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
        np.broadcast_to(np.float64(1), (3, 2)),
        np.array(["NaT", "2024"], "M8[25s]"),
        np.array([0, 5, np.iinfo("i8").min]).view("M8"),
        np.array([0, 5, np.iinfo("i8").min]).view("m8"),
        np.array([np.nan, -0.0]).view(">f8"),
        np.zeros(3, "V0"),
        np.zeros(2, []),
        np.longdouble("1") / 3,
        np.longlong(3),
        np.array([3], np.ulonglong),
        {np.int64(1): "a", "1": "b"},
        {1: 0, 1.5: 0, None: 0, (1, "a"): 0, b"": 0, frozenset([1]): 0},
        {float("nan"): 1},
        {"$": 1},
        {"$dict": {"$dict": [1]}},
        {"$a": 1, "$b": 2},
        [{"$tuple": [1]}, (1,)],
        "\ud800\0",
        {"\ud800": "\udfff"},
        2**64 - 1,
        [2**63] * 100,
        [1.0] * 63 + [1],
        [True] * 100,
        list(range(10**4)),
        {"loss": [0.5] * 2000, "name": "x"},
        "x" * 10**6,
        {"flags": np.array([True])},
    ],
    ids=lambda value: type(value).__name__,
)
def test_hazards(value: Any) -> None:
    same(value)


def test_integers_of_more_digits_than_python_prints() -> None:
    huge = 10**5000
    for value in (huge, {huge}, {huge: [huge]}, {-huge: (huge,)}):
        assert (codecs.decode(codecs.encode(value)) == value) is True


def test_decimals_do_not_depend_on_the_context() -> None:
    with decimal.localcontext() as context:
        context.capitals, context.prec = 0, 3
        blob = codecs.encode(decimal.Decimal("1.23456E+99"))
        assert codecs.decode(blob) == decimal.Decimal("1.23456E+99")
    assert codecs.decode(blob).as_tuple() == decimal.Decimal("1.23456E+99").as_tuple()


@pytest.mark.parametrize("value", ["x" * 200, [1] * 200, np.zeros(100), b"x" * 300])
def test_values_too_large_for_any_database_are_refused(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envelope, "MAX_BYTES", 100)
    with pytest.raises(UnsupportedType, match="100 is the most a database holds"):
        codecs.encode(value)


def test_flags_and_attrs_of_pandas_objects() -> None:
    frame = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    frame.attrs = {"unit": ("m", np.float64(1))}
    same(frame)
    same(frame["a"])


def test_arrays_can_be_written_to() -> None:
    array = codecs.decode(codecs.encode(np.arange(3.0)))
    array[0] = 7
    frame = codecs.decode(codecs.encode(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})))
    frame.loc[0, "a"] = 7
    frame.loc[0, "b"] = "z"
    series = codecs.decode(codecs.encode(pd.Series([1.5, 2.5])))
    series.iloc[0] = 7
    assert (array[0], frame.loc[0, "a"], frame.loc[0, "b"], series.iloc[0]) == (7, 7, "z", 7)


def test_arrays_from_writable_memory_are_views_of_it() -> None:
    blob = bytearray(codecs.encode(np.arange(1000)))
    array = codecs.decode(blob)
    assert np.shares_memory(array, np.frombuffer(blob, np.uint8))
    assert array.flags.writeable
    assert array.ctypes.data % array.dtype.alignment == 0


def test_arrays_from_bytes_leave_them_alone() -> None:
    blob = codecs.encode(np.arange(1000))
    array = codecs.decode(blob)
    assert not np.shares_memory(array, np.frombuffer(blob, np.uint8))
    array[:] = -1
    assert codecs.decode(blob)[1] == 1


def test_any_buffer_is_read() -> None:
    blob = codecs.encode((1, "a"))
    assert codecs.decode(memoryview(blob)) == (1, "a")
    assert codecs.decode(bytearray(blob)) == (1, "a")


def test_equal_sets_get_equal_bytes() -> None:
    forwards, backwards = set(range(0, 800, 8)), set(range(792, -8, -8))
    assert codecs.encode(forwards) == codecs.encode(backwards)
    assert codecs.encode({0, 8}) == codecs.encode({8, 0})


def test_slices_do_not_take_their_parents_along() -> None:
    strings = pd.Series(["x" * 1000] * 1000)
    assert len(codecs.encode(strings.iloc[500:502])) < 5000
    assert len(codecs.encode(np.arange(10**6)[5:7])) < 500


def test_zones_keep_their_identity() -> None:
    stamp = pd.Timestamp("2024-07-01", tz=ZoneInfo("Europe/Berlin"))
    assert codecs.decode(codecs.encode(stamp)).tz is ZoneInfo("Europe/Berlin")


@settings(max_examples=50)
@given(values.values())
def test_encoding_is_stable(value: Any) -> None:
    blob = codecs.encode(value)
    assert codecs.encode(codecs.decode(blob)) == blob


def test_light_values_import_no_heavy_library() -> None:
    program = (
        "import sys, mltraq_prefect.codecs as c, mltraq_prefect.storage, numpy as np\n"
        "c.decode(c.encode([(1, 'a'), np.arange(3), {1: 2.5}]))\n"
        "sys.exit(bool({'pandas', 'pyarrow', 'prefect'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
