"""What cannot be kept exactly is refused, by an error that says where it is and what to store."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mltraq_prefect import codecs
from mltraq_prefect.errors import UnsupportedType
from mltraq_prefect.run import Namespace


class Colour(enum.IntEnum):
    RED = 1


class Label(str):
    pass


class Frame(pd.DataFrame):
    pass


class Zone(dt.tzinfo):
    def utcoffset(self, when: Any) -> dt.timedelta:
        return dt.timedelta(0)


@dataclasses.dataclass
class Point:
    x: int = 0


Pair = collections.namedtuple("Pair", "a b")


def refusal(value: Any, path: str = "fields.scores") -> UnsupportedType:
    with pytest.raises(UnsupportedType) as caught:
        codecs.encode(value, path=path)
    return caught.value


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (collections.OrderedDict(a=1), "store dict(...) of it"),
        (collections.defaultdict(int), "store dict(...) of it"),
        (Namespace(a=1), "store the plain dict that it holds"),
        (Pair(1, 2), "store the plain tuple that it holds"),
        (Colour.RED, "store the plain int that it holds"),
        (Label("a"), "store the plain str that it holds"),
        (Point(), "store what it holds as"),
        (object(), "store what it holds as"),
        (bytearray(b"a"), "store bytes(...) of it"),
        (range(3), "store list(...) of it"),
        (print, "store what it holds as"),
        (refusal, "store its name, as text"),
        (Point, "store its name, as text"),
        (Zone(), "store what it holds as"),
        (np.array([object()]), "Python objects have no exact form there"),
        (np.array([(1, None)], dtype=[("a", int), ("b", object)]), "Python objects have no exact"),
        (np.ma.masked_array([1, 2], [True, False]), "store its .data and its .mask"),
        (np.ma.masked, "store its .data and its .mask"),
        (np.zeros((1, 1)).view(np.matrix), "store numpy.asarray(...) of it"),
        (np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "store numpy.array("),
        (
            np.rec.array([(1,)], dtype=[("a", int)]).view(np.ndarray),
            "record types lose their class",
        ),
        (np.rec.array([(1,)], dtype=[("a", int)])[0], "store x.item(), which is a tuple"),
        (np.zeros(1, np.dtype("f8", metadata={"unit": "m"})), "metadata and titles"),
        (np.zeros(2**17, "V0"), "give its dtype a size"),
        (np.zeros(1, [(("title", "name"), int)]), "metadata and titles"),
        (Frame({"a": [1]}), "store the plain DataFrame that it holds"),
        (pd.Series(pd.arrays.SparseArray([1, 0])), "store numpy.asarray(...) of it"),
        (pd.offsets.Day(), "store what it holds as"),
        (dt.datetime(2024, 1, 1, tzinfo=Zone()), "zoneinfo.ZoneInfo by key"),
        (pd.array([chr(0xD800)], dtype=pd.StringDtype("python")), "lone surrogates"),
    ],
)
def test_the_message_says_what_to_store_instead(value: Any, hint: str) -> None:
    error = refusal(value)
    assert hint in error.reason
    what = f"{error.path} is of type {error.type_name}"
    assert str(error) == f"{what}, which cannot be stored: {error.reason}"


BAD = object()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (BAD, "fields.scores"),
        ([0, 1, 2, {"a": BAD}], "fields.scores[3]['a']"),
        ((1, [BAD]), "fields.scores[1][0]"),
        ({"a": {2: BAD}}, "fields.scores['a'][2]"),
        ({(1, Label("x")): 1}, "fields.scores.keys()[(1, 'x')][1]"),
        ({Label("x"): 1}, "fields.scores.keys()['x']"),
        ({frozenset([Colour.RED])}, "fields.scores{a frozenset}{a Colour}"),
        (pd.Series([1, BAD]), "fields.scores.iloc[1]"),
        (pd.Series([1], name=Label("x")), "fields.scores.name"),
        (pd.DataFrame({"a": [1], "b": [BAD]}), "fields.scores['b'].iloc[0]"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([1])}), "fields.scores['a'].array"),
        (pd.DataFrame({"a": [1]}, index=pd.Index([BAD])), "fields.scores.index.iloc[0]"),
        (pd.DataFrame({BAD: [1]}), "fields.scores.columns.iloc[0]"),
        (["a", [np.array([BAD])]], "fields.scores[1][0]"),
    ],
)
def test_the_path_leads_to_the_value(value: Any, path: str) -> None:
    assert refusal(value).path == path


def test_custom_frequencies_are_refused() -> None:
    holidays = pd.offsets.CustomBusinessDay(holidays=["2024-01-02"])
    index = pd.date_range("2024-01-01", periods=3, freq=holidays)
    assert "set freq to None" in refusal(index).reason


def cycles() -> list[tuple[Any, str, str]]:
    items: list[Any] = [1]
    items.append(items)
    mapping: dict[Any, Any] = {}
    mapping["me"] = [(mapping,)]
    cells: list[Any] = []
    series = pd.Series([cells], dtype=object)
    cells.append(series)
    return [
        (items, "fields.scores[1]", "list"),
        (mapping, "fields.scores['me'][0][0]", "dict"),
        ([0, mapping], "fields.scores[1]['me'][0][0]", "dict"),
        (series, "fields.scores.iloc[0][0]", "pandas.Series"),
    ]


@pytest.mark.parametrize(("value", "path", "kind"), cycles())
def test_cycles_are_named(value: Any, path: str, kind: str) -> None:
    error = refusal(value)
    assert (error.path, error.type_name) == (path, kind)
    assert "contains itself" in error.reason


def wrap(value: Any, depth: int, kind: Any) -> Any:
    for _ in range(depth):
        value = kind(value)
    return value


WRAPPERS = {
    "list": lambda value: [value],
    "tuple": lambda value: (value,),
    "dict": lambda value: {"a": value},
    "dict with int keys": lambda value: {1: value},
    "frozenset": lambda value: frozenset([value]),
    "list and tuple": lambda value: [(value,)],
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_hundred_levels_are_kept_and_one_more_is_refused(name: str) -> None:
    levels = 50 if name == "list and tuple" else 100
    deepest = wrap(1, levels, WRAPPERS[name])
    assert codecs.decode(codecs.encode(deepest)) == deepest
    error = refusal([deepest])
    assert "nested deeper than 100 levels; flatten it" in error.reason
    assert len(str(error)) < 1000


def test_frames_nest_until_they_are_refused() -> None:
    value: Any = 1
    refused = []
    for _ in range(100):
        value = pd.DataFrame({"a": pd.Series([value], dtype=object)})
        try:
            codecs.decode(codecs.encode(value))
        except UnsupportedType as error:
            refused.append(error.reason)
    assert 0 < len(refused) < 80
    assert all("flatten it" in reason for reason in refused)


def test_nothing_but_the_table_decides() -> None:
    """A type that only looks like a supported one by name is no such type."""
    fake = type("ndarray", (), {"__module__": "pandas"})()
    assert refusal(fake).type_name == "pandas.ndarray"
