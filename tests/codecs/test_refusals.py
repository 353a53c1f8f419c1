"""What cannot be kept exactly is refused, by an error that says where it is and what to store."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import functools
import ipaddress
import re
import types
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
import scipy.sparse
import sklearn.linear_model

from mltraq_prefect import codecs
from mltraq_prefect.errors import UnsupportedType


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
        (collections.OrderedDict(a=1), "store dict(x), where x is the value"),
        (collections.defaultdict(int), "store dict(x)"),
        (Pair(1, 2), "store dict(x._asdict())"),
        (Colour.RED, "store x.name"),
        (Label("a"), "its class would be lost; store str.__str__(x)"),
        (Point(), "store dataclasses.asdict(x)"),
        (object(), "store what it holds as"),
        (bytearray(b"a"), "store bytes(x)"),
        (range(3), "store list(x)"),
        (print, "store x.__qualname__"),
        (refusal, "store f'{x.__module__}.{x.__qualname__}'"),
        (Exception, "store f'{x.__module__}.{x.__qualname__}'"),
        (Zone(), "store what it holds as"),
        (np.array([object()]), "Python objects have no exact form there"),
        (np.array([(1, None)], dtype=[("a", int), ("b", object)]), "Python objects have no exact"),
        (np.ma.masked_array([1, 2], [True, False]), "store {'data': x.data, 'mask'"),
        (np.ma.masked, "store {'data': x.data, 'mask'"),
        (np.zeros((1, 1)).view(np.matrix), "store numpy.asarray(x)"),
        (np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), "store numpy.array("),
        (
            np.rec.array([(1,)], dtype=[("a", int)]).view(np.ndarray),
            "record types lose their class",
        ),
        (np.rec.array([(1,)], dtype=[("a", int)])[0], "store x.item()"),
        (np.zeros(1, np.dtype("f8", metadata={"unit": "m"})), "metadata and titles"),
        (np.zeros(2**17, "V0"), "give its dtype a size"),
        (np.zeros(1, [(("title", "name"), int)]), "metadata and titles"),
        (Frame({"a": [1]}), "store pandas.DataFrame(x)"),
        (pd.Series(pd.arrays.SparseArray([1, 0])), "store numpy.asarray(x)"),
        (pd.offsets.Day(), "store x.freqstr"),
        (dt.datetime(2024, 1, 1, tzinfo=Zone()), "zoneinfo.ZoneInfo by key"),
        (pd.array([chr(0xD800)], dtype=pd.StringDtype("python")), "lone surrogates"),
    ],
)
def test_the_message_says_what_to_store_instead(value: Any, hint: str) -> None:
    error = refusal(value)
    assert hint in error.reason
    what = f"{error.path} is of type {error.type_name}"
    assert str(error) == f"{what}, which cannot be stored: {error.reason}"


class Settings(pydantic.BaseModel):
    rate: float = 0.1


@attrs.define
class Span:
    start: int = 0


class Quaternion(np.ndarray):
    pass


class Moment(dt.datetime):
    pass


def numbers():
    yield 1
    yield 2


REFUSED = [
    array.array("d", [1.0]),
    bytearray(b"a"),
    memoryview(b"a"),
    types.MappingProxyType({"a": 1}),
    types.SimpleNamespace(a=1),
    range(3),
    slice(1, 2),
    numbers(),
    collections.OrderedDict(a=1),
    collections.defaultdict(int, a=1),
    collections.Counter("aab"),
    collections.deque([1]),
    Pair(1, 2),
    Colour.RED,
    Label("a"),
    Moment(2026, 1, 2),
    Point(),
    Settings(),
    Span(),
    Point,
    refusal,
    print,
    len,
    functools.partial(int, base=2),
    re.compile("a+"),
    re,
    ValueError("wrong"),
    ipaddress.ip_address("127.0.0.1"),
    ipaddress.ip_network("127.0.0.0/8"),
    np.dtype("f8"),
    np.zeros((1, 1)).view(np.matrix),
    np.zeros(3).view(Quaternion),
    np.ma.masked_array([1, 2], [True, False]),
    np.rec.array([(1, 2.0)], dtype=[("a", int), ("b", float)]),
    np.rec.array([(1,)], dtype=[("a", int)])[0],
    np.random.default_rng(0),
    np.random.RandomState(0),
    scipy.sparse.csr_matrix([[1, 0]]),
    scipy.sparse.coo_array([[1, 0]]),
    sklearn.linear_model.Ridge(2.0),
    Frame({"a": [1]}),
    pd.arrays.SparseArray([1, 0]),
    pd.offsets.Day(),
    pa.table({"a": [1]}),
    pa.array([1]),
    pa.scalar(1),
]


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__qualname__)
def test_the_hint_is_code_that_works(value: Any) -> None:
    """What a user copies from the message makes something that can be stored."""
    code = re.search("store (.*), where x is the value", refusal(value).reason)[1]
    names = {"x": value, "numpy": np, "pandas": pd, "attrs": attrs}
    stored = eval(code, {**names, "dataclasses": dataclasses, "datetime": dt})
    assert codecs.decode(codecs.encode(stored)) is not None


def test_hints_for_libraries_that_are_not_there() -> None:
    for module, name, code in [
        ("torch", "Tensor", "x.detach().cpu().numpy()"),
        ("polars.dataframe.frame", "DataFrame", "x.to_pandas()"),
        ("xarray.core.dataset", "Dataset", "x.to_dict()"),
    ]:
        fake = type(name, (), {"__module__": module})()
        assert refusal(fake).reason == f"store {code}, where x is the value"


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
        (series, "fields.scores.iloc[0][0]", f"{pd.Series.__module__}.Series"),
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
