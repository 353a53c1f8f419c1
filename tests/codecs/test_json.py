"""JSON text where it is exact, its natural projection where it is not."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltraq_prefect import codecs
from mltraq_prefect.errors import CorruptData, UnsupportedType
from mltraq_prefect.model.namespace import Namespace
from tests import values
from tests.values import assert_identical


@given(values.json_values())
def test_exact_values_come_back_identical(value: Any) -> None:
    text = codecs.to_json(value)
    assert text is not None
    assert_identical(codecs.from_json(text), value)
    assert_identical(codecs.from_json(text.encode()), value)
    assert_identical(json.loads(text), value)


@given(values.values())
def test_text_is_given_only_where_it_is_exact(value: Any) -> None:
    text = codecs.to_json(value)
    if text is not None:
        assert_identical(codecs.from_json(text), value)


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        1,
        "text",
        None,
        (1, 2),
        [(1, 2)],
        [math.nan],
        [1.0, math.inf],
        {"a": {"b": -math.inf}},
        [2**63],
        [-(2**63) - 1],
        [2**70],
        {1: 2},
        {None: 1},
        {"a": {True: 1}},
        [np.float64(1.0)],
        [{"a": np.int64(1)}],
        [b"bytes"],
        ["\ud800"],
        {"\udfff": 1},
        [Decimal(1)],
        nested(101),
        [{1, 2}],
        np.arange(3),
    ],
)
def test_values_that_json_would_change_get_none(value: Any) -> None:
    assert codecs.to_json(value) is None


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        [2**63 - 1, -(2**63)],
        [-0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e16, 1e22, 100.0],
        [1e308, 1e308],
        {"": {"": []}},
        {"$tuple": [1]},
        ["\0", "\x7f", "\u2028", "\U0001f600", '"\\/'],
        nested(100),
        [True, 1, 1.0, None, "1"],
    ],
)
def test_values_at_the_edge_are_kept(value: Any) -> None:
    text = codecs.to_json(value)
    assert text is not None
    assert_identical(codecs.from_json(text), value)


def test_cycles_get_none() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert codecs.to_json(loop) is None
    assert codecs.project_json(loop) is None


def test_text_with_nul_is_left_to_the_caller() -> None:
    assert codecs.to_json(["\0"], nul=False) is None
    assert codecs.to_json({"a\0": 1}, nul=False) is None
    assert codecs.to_json(["\\u0000"], nul=False) == '["\\\\u0000"]'
    assert codecs.to_json(["\\\0"], nul=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        '"a"',
        "null",
        "[1",
        "[1]x",
        "[NaN]",
        "[Infinity]",
        "[1e999]",
        "[99999999999999999999]",
        "[-9223372036854775809]",
        "[" + "9" * 5000 + "]",
        '{"a":1,"a":2}',
        '[{"a":1, "a":1}]',
        '["\\ud800"]',
        "[" * 101 + "]" * 101,
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        b"[\xff]",
        "['a']",
        "[1,]",
        "\ud800",
    ],
)
def test_other_text_is_corrupt(text: Any) -> None:
    with pytest.raises(CorruptData, match=r"^a stored value is corrupt: JSON: "):
        codecs.from_json(text)


def test_what_a_database_may_change_is_read_all_the_same() -> None:
    text = ' {"b" : [1, 2.50, 1E+2], "a" : "\\u00e9\\/"} '
    assert_identical(codecs.from_json(text), {"b": [1, 2.5, 100.0], "a": "\xe9/"})
    assert_identical(codecs.from_json(memoryview(b"[1, 2]")), [1, 2])


@pytest.mark.parametrize(
    ("value", "projection"),
    [
        ([(1, (2,))], [[1, [2]]]),
        ((1, 2), [1, 2]),
        ([math.nan, math.inf, 1.5], [None, None, 1.5]),
        (
            {"a": np.float32(0.5), "b": np.int8(3), "c": np.bool_(True)},
            {"a": 0.5, "b": 3, "c": True},
        ),
        ([2**70, -(2**64)], [float(2**70), -float(2**64)]),
        ([10**400], [None]),
        ({None: "b", 2.5: "c", False: "d"}, {"null": "b", "2.5": "c", "false": "d"}),
        ([np.float64("nan")], [None]),
        ([np.str_("a")], ["a"]),
    ],
)
def test_the_projection_is_the_closest_natural_json(value: Any, projection: Any) -> None:
    text = codecs.project_json(value)
    assert text is not None
    assert_identical(json.loads(text), projection)


@pytest.mark.parametrize(
    "value",
    [
        1,
        "a",
        np.arange(3),
        [np.arange(3)],
        [{1, 2}],
        [b"a"],
        [object()],
        {"1": "a", 1: "b"},
        ["\ud800"],
        {(1, 2): 3},
        [Decimal(1)],
        nested(150),
        [np.datetime64("2024-01-01")],
    ],
)
def test_what_has_no_natural_json_gets_none(value: Any) -> None:
    assert codecs.project_json(value) is None


@given(st.text(max_size=60))
def test_any_text_is_read_or_corrupt(text: str) -> None:
    try:
        value = codecs.from_json(text)
    except CorruptData:
        return
    assert codecs.to_json(value) is not None


@given(st.lists(st.dictionaries(st.text(), values.json_values() | values.values(), max_size=3)))
def test_each_of_many_has_the_text_that_it_has_alone(items: list[dict[str, Any]]) -> None:
    alone = [codecs.to_json(item) for item in items]
    together = codecs.each_to_json(items)
    if None not in alone:
        assert together == alone or not items
    else:
        assert together is None


def test_texts_that_hold_what_separates_them_are_told_apart() -> None:
    items = [{"a": "},{"}, {"b": [{}, {}]}, {}]
    assert codecs.each_to_json(items) == ['{"a":"},{"}', '{"b":[{},{}]}', "{}"]
    assert codecs.each_to_json([{"a": "\0"}], nul=False) is None


def test_namespaces_are_stored_as_dicts() -> None:
    inner = Namespace(a=1, items=[Namespace(values=2)])
    plain = {"a": 1, "items": [{"values": 2}]}
    for value, expected in [(inner, plain), ([(inner,)], [(plain,)]), ({1: inner}, {1: plain})]:
        values.assert_identical(expected, codecs.decode(codecs.encode(value)))
        assert codecs.encode(value) == codecs.encode(expected)
    assert codecs.to_json(inner) == codecs.to_json(plain)


def test_a_namespace_in_itself_is_refused() -> None:
    loop = Namespace(a=1)
    loop["me"] = [loop]
    with pytest.raises(UnsupportedType):
        codecs.encode(loop)
