"""Many values at once are written and read as they are one by one."""

from __future__ import annotations

import copy
import datetime as dt
import gc
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltraq_prefect import codecs
from mltraq_prefect.codecs.writer import CarefulWriter, Writer
from mltraq_prefect.errors import CorruptData, UnsupportedType
from tests import values
from tests.codecs.mutations import forge
from tests.values import assert_identical

ENOUGH = 20
MIXED = [
    *(None, True, 1, 0.5, float("nan"), "a", b"b", b"b" * 300, Decimal("1.5"), dt.date(2024, 1, 1)),
    *([], [1], [[1], (2,)], (), (1, "a"), ((), [0.5]), [0.5] * 70, (1,) * 70, {1, 2}, frozenset()),
    *({}, {"a": 1}, {"a": (1,)}, {"b": [1], "a": {}}, {"a": 1.5, "b": 2}, {1: 2}, {"$tuple": [1]}),
    *({"$a": 1, "b": 2}, {"\ud800": 1}, 2**64, np.float64(0.5), np.arange(3), [np.arange(3)]),
]


def kind(value: Any) -> str:
    return type(value).__name__


def document(value: Any, writer: Writer) -> tuple[bytes, list[bytes]]:
    return writer.document(writer.node(value)), [*map(bytes, writer.buffers)]


@settings(max_examples=50)
@given(st.lists(values.values(), max_size=5), st.integers(0, 3))
def test_both_writers_make_the_same_document(items: list[Any], rows: int) -> None:
    # No deep copies: with NumPy before 2.2.6 one of variable-width strings ends the interpreter.
    value = [codecs.decode(codecs.encode(items)) for _ in range(rows)] + items * ENOUGH
    try:
        fast = document(value, Writer())
    except TypeError:  # text or an integer that needs the careful one
        return
    assert fast == document(value, CarefulWriter())


@pytest.mark.parametrize("one", MIXED, ids=kind)
@pytest.mark.parametrize("other", [None, (1,), {"a": {"b": (2,)}}, [b"x" * 300]], ids=kind)
def test_columns_of_mixed_kinds_come_back(one: Any, other: Any) -> None:
    rows = [{"x": copy.deepcopy(one if i % 3 else other), "y": [i]} for i in range(ENOUGH)]
    assert_identical(codecs.decode(codecs.encode(rows)), rows)
    assert_identical(
        codecs.decode(codecs.encode((*rows, [one, other] * ENOUGH))), (*rows, [one, other] * ENOUGH)
    )


def test_everything_beside_everything() -> None:
    rows = [{"x": copy.deepcopy(one), f"key {i % 5}": i} for i, one in enumerate(MIXED * 3)]
    assert_identical(codecs.decode(codecs.encode(rows)), rows)
    assert_identical(codecs.decode(codecs.encode(MIXED)), MIXED)


@pytest.mark.parametrize("part", [(1, [2]), {"a": (1,)}, [(1,)], [b"x" * 300], np.arange(3)])
def test_bytes_do_not_tell_which_objects_are_shared(part: Any) -> None:
    shared = [part] * ENOUGH + [{"a": part}] * ENOUGH
    apart = [copy.deepcopy(item) for item in shared]
    assert codecs.encode(shared) == codecs.encode(apart)
    assert_identical(codecs.decode(codecs.encode(shared)), apart)


def test_equal_sets_of_long_bytes_get_equal_bytes() -> None:
    members = [bytes([i]) * 300 for i in range(50)]
    assert codecs.encode({*members}) == codecs.encode({*reversed(members)})


def test_the_argument_is_left_as_it_was() -> None:
    rows = [{"x": (i,), "y": float("nan"), "z": [{"t": (i, [i])}]} for i in range(ENOUGH)]
    before = copy.deepcopy(rows)
    codecs.encode(rows)
    assert_identical(rows, before)


@pytest.mark.parametrize("width", [2, ENOUGH, 200])
@pytest.mark.parametrize("inner", ["list", "dict", "tuple"])
def test_what_contains_itself_many_times_is_refused_at_once(width: int, inner: str) -> None:
    loop: list[Any] = []
    inners = {"list": loop, "dict": {"a": loop, "b": loop}, "tuple": (loop, 1)}
    loop += [inners[inner]] * width
    with pytest.raises(UnsupportedType, match="it contains itself") as caught:
        codecs.encode({"x": [loop] * ENOUGH})
    assert caught.value.path.startswith("value['x'][0][0]")
    assert codecs.to_json(loop) is None
    assert codecs.project_json(loop) is None


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"a": [1, (2, object())]}, "value[33]['a'][1][1]"),
        ({"b": {"c": object()}}, "value[33]['b']['c']"),
        ([object()], "value[33][0]"),
    ],
)
def test_a_refusal_among_many_says_where(row: Any, path: str) -> None:
    rows: list[Any] = [{"a": [1, (2, 3)]} for _ in range(50)]
    rows[33] = row
    with pytest.raises(UnsupportedType) as caught:
        codecs.encode(rows)
    assert caught.value.path == path


def wide(levels: int, leaf: Any) -> Any:
    value = leaf
    for level in range(levels):
        value = [value] + [[]] * ENOUGH if level % 2 else [{"a": value, "b": 1}] + [(1,)] * ENOUGH
    return value


def test_depth_is_counted_the_same_way() -> None:
    """`wide` nests three levels in two steps."""
    kept = [wide(65, ())] * 2
    assert_identical(codecs.decode(codecs.encode(kept)), kept)
    for leaf in ([], {}, [1], {"a": 1}, (), ((1,),)):
        with pytest.raises(UnsupportedType, match="nested deeper than 100 levels"):
            codecs.encode([[wide(66, leaf)] * 2])


@pytest.mark.parametrize("leaf", [[], {}, [1], {"a": 1}, {"$tuple": []}])
def test_documents_that_are_too_deep_are_refused(leaf: Any) -> None:
    node = leaf
    for _ in range(100):
        node = [node] + [[1]] * ENOUGH
    for flags in (0, 1):
        with pytest.raises(CorruptData, match=r"(deeper|more) than 100 levels"):
            codecs.decode(forge([node, {"$tuple": [1]}], flags=flags))


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    long = codecs.encode([[i] for i in range(10_000)])
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        codecs.decode(long)
        with pytest.raises(CorruptData):
            codecs.decode(forge([[]] * 10_000 + [{"$tuple": 1}]))
        with pytest.raises(UnsupportedType):
            codecs.encode([object()])
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("turned", [False, True])
def test_memory_between_fields_is_not_written(turned: bool) -> None:
    dtype = np.dtype([("a", "?"), ("b", "i2"), ("c", "?")], align=True)
    for _ in range(50):
        np.full(4096, 255, np.uint8)  # memory that a copy gets
        array = np.zeros((20, 20), dtype)[::2, ::2]
        _, buffers = document(array.T if turned else array, Writer())
        assert not any(map(any, buffers))


def fill(array: np.ndarray, values: np.ndarray) -> None:
    """Assign values without what is between them, which NumPy 2.5 assigns with them."""
    for name in array.dtype.names or ():
        if array.dtype[name].names:
            fill(array[name], values[name])
        else:
            array[name] = values[name]


@pytest.mark.parametrize("dtype", ["i1,f8", "i1,(2,)i4", [("a", [("x", "i1"), ("y", "i4")])]])
def test_padding_is_zero_in_arrays_and_scalars(dtype: object) -> None:
    padded = np.dtype(dtype, align=True)
    dirty = np.full(5 * padded.itemsize, 0xAB, np.uint8).view(padded)
    clean = np.zeros(5, padded)
    fill(clean, dirty)
    assert dirty.tobytes() != clean.tobytes()
    for left, right in ((dirty, clean), (dirty[0], clean[0]), (dirty[:1].T, clean[:1].T)):
        assert codecs.encode(left) == codecs.encode(right)
        assert_identical(left, codecs.decode(codecs.encode(left)))
