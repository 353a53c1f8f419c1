"""Bytes that are no stored value raise `CorruptData` and nothing else, and cost little."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltraq_prefect import codecs
from mltraq_prefect.codecs import envelope
from mltraq_prefect.errors import CorruptData
from tests.codecs.mutations import forge, mutate, seal, seeds

SEEDS = seeds()


def refused(blob: bytes) -> str:
    """Return why the blob is refused."""
    with pytest.raises(CorruptData) as caught:
        codecs.decode(blob)
    return caught.value.reason


def test_mutations_in_a_guarded_process() -> None:
    """In a process of its own: an audit hook cannot be removed, nor a memory cap raised."""
    command = [sys.executable, "-m", "tests.codecs.fuzz", "--cases", "4000", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("4000 cases:")


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    refused(data)


@given(st.binary(max_size=100))
def test_random_documents_with_a_valid_checksum(data: bytes) -> None:
    try:
        value = codecs.decode(forge(data))
    except CorruptData:
        return
    assert codecs.decode(codecs.encode(value)) is not NotImplemented


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_every_truncation_is_refused(seed: bytes) -> None:
    step = max(1, len(seed) // 200)
    for end in range(0, len(seed), step):
        refused(seed[:end])
        refused(seal(seed[:end]))


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_every_changed_bit_is_noticed(seed: bytes) -> None:
    rng = random.Random(0)
    for _ in range(200):
        position, bit = rng.randrange(len(seed)), rng.randrange(8)
        changed = bytearray(seed)
        changed[position] ^= 1 << bit
        refused(bytes(changed))


def test_trailing_bytes_are_refused() -> None:
    assert "declared" in refused(codecs.encode([1]) + b"\0")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"$unknown": 1}, "tag '\\$unknown' is unknown"),
        ({"$pd.Unknown": 1}, "is unknown"),
        ({"$pickle": "gASVAAAA"}, "is unknown"),
        ({"$tuple": {"a": 1}}, "list expected, dict found"),
        ({"$tuple": "abc"}, "list expected, str found"),
        ({"$set": [1, 1]}, "occurs twice"),
        ({"$set": [[1]]}, "TypeError while"),
        ({"$dict": [1, 2, 1, 3]}, "occurs twice"),
        ({"$dict": [1]}, "ValueError while"),
        ({"$bytes": 0}, "no buffer 0"),
        ({"$bytes": "%%"}, "Error while"),
        ({"$int": "zz"}, "hexadecimal"),
        ({"$float": "00"}, "error while"),
        ({"$decimal": "1,5"}, "Conversion|Invalid"),
        ({"$datetime": "2024-01-01"}, "not the ISO 8601 form"),
        ({"$datetime": ["2024-01-01T00:00:00", 0, "../../etc/passwd"]}, "time zone"),
        ({"$datetime": ["2024-01-01T00:00:00", 0, "Nowhere/Land"]}, "install tzdata"),
        ({"$np.scalar": ["<f8", "AAAA"]}, "3 bytes are not a scalar"),
        ({"$np.scalar": ["|O8", "AAAAAAAAAAA="]}, "dtype '\\|O8' is unknown"),
        ({"$pd.Timestamp": [-(2**63), "ns", 0, None]}, "NaT has a tag"),
        ({"$pd.Timestamp": [0, "Y", 0, None]}, "unit 'Y'"),
        ({"$pd.RangeIndex": [0, 3, 0, None]}, "ValueError while"),
    ],
)
def test_forged_documents(document: Any, reason: str) -> None:
    with pytest.raises(CorruptData, match=reason):
        codecs.decode(forge(document))


@pytest.mark.parametrize(
    ("argument", "data", "reason"),
    [
        (["<f8", [2**40], "C", 0], b"", "does not fit 0 bytes"),
        (["<f8", [3], "C", 0], bytes(16), "does not fit 16 bytes"),
        (["<f8", [-1], "C", 0], b"", "not a shape"),
        (["<f8", [True], "C", 0], bytes(8), "int expected"),
        (["<f8", [1], "K", 0], bytes(8), "order"),
        (["|V0", [2**31], "C", 0], b"", "zero bytes"),
        (["|O8", [1], "C", 0], bytes(8), "is unknown"),
        ([["<f8", [2]], [1], "C", 0], bytes(16), "dtype with a shape"),
        (["|b1", [2], "C", 0], b"\1\2", "a bool is neither 0 nor 1"),
        (["<U1", [1], "C", 0], b"\xff\xff\xff\xff", "beyond Unicode"),
        (["<f8", [1] * 65, "C", 0], bytes(8), "ValueError while"),
    ],
)
def test_forged_arrays(argument: Any, data: bytes, reason: str) -> None:
    with pytest.raises(CorruptData, match=reason):
        codecs.decode(forge({"$np.array": argument}, data))


def test_a_dtype_that_nests_for_ever() -> None:
    dtype: Any = "<f8"
    for _ in range(200):
        dtype = [dtype, [1]]
    assert "nested deeper" in refused(forge({"$np.array": [dtype, [1], "C", 0]}, bytes(8)))


def arrow(offsets: list[int], text: bytes, length: int) -> bytes:
    level = [length, [None, 0, 1], []]
    node = {"$pd.Strings": ["pyarrow", "nan", ["large_string", level]]}
    return forge(node, struct.pack(f"<{len(offsets)}q", *offsets), text)


@pytest.mark.parametrize(
    ("offsets", "text", "length"),
    [
        ([0, 99], b"abc", 1),
        ([0, 3, 1, 3], b"abc", 3),
        ([-5, 3], b"abc", 1),
        ([0], b"abc", 5),
        ([0, 2], b"\xff\xfe", 1),
        ([0, 3], b"abc", 2**31),
        ([0, 3], b"abc", -1),
    ],
)
def test_forged_strings(offsets: list[int], text: bytes, length: int) -> None:
    refused(arrow(offsets, text, length))


def test_forged_strings_are_otherwise_values() -> None:
    assert codecs.decode(arrow([0, 1, 3], b"abc", 2)).tolist() == ["a", "bc"]


def test_buffers_belong_to_one_value_each() -> None:
    assert "share it" in refused(forge({"$tuple": [{"$bytes": 0}, {"$bytes": 0}]}, b"x"))
    assert "no value" in refused(forge(1, b"x"))
    assert "no buffers" in refused(forge([1], b"x", flags=envelope.PLAIN))


@pytest.mark.parametrize(
    "node",
    [
        {"$path": ["Popen", "a"]},
        {"$path": ["PosixPath", "a//b"]},
        {"$path": ["PosixPath", 1]},
        {"$fraction": [2, 4]},
        {"$fraction": [1, 0]},
        {"$fraction": ["1", 2]},
    ],
)
def test_paths_and_fractions_have_one_form(node: Any) -> None:
    refused(forge(node))


def test_padding_must_be_zero() -> None:
    blob = bytearray(codecs.encode(np.arange(3)))
    blob[127] = 1
    assert "padding" in refused(seal(bytes(blob)))


def test_blanks_and_double_keys_are_refused() -> None:
    assert "form that was written" in refused(forge(b'{"$tuple": [1]}'))
    assert "form that was written" in refused(forge(b'[{"a":1,"a":2}]'))
    assert "form that was written" in refused(forge(b'{"a":1,"a":2}', flags=envelope.PLAIN))
    assert "form that was written" in refused(forge(b"[1, 2]", flags=envelope.PLAIN))


@pytest.mark.parametrize("flags", [0, envelope.PLAIN])
@pytest.mark.parametrize("depth", [101, 1000, 100_000])
def test_deep_nesting(depth: int, flags: int) -> None:
    refused(forge(b"[" * depth + b"]" * depth, flags=flags))


def test_deep_tags() -> None:
    refused(forge(b'{"$tuple":[' * 101 + b"]}" * 101))


@pytest.mark.parametrize(
    "bomb",
    [
        pa.compress(bytes(2**28), codec="zstd", asbytes=True),
        zlib.compress(bytes(2**20)),
        b"",
    ],
    ids=["zstd", "zlib", "empty"],
)
@pytest.mark.parametrize("size", [2**28, 2**31 - 1, 2**62, 100])
def test_bombs_take_no_memory(bomb: bytes, size: int) -> None:
    head = struct.pack("<4sHHQIIQ", b"MLTQ", 1, envelope.COMPRESSED, 0, 1, 0, size)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        refused(head + bomb)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
    assert pa.total_allocated_bytes() - before < 2**20


def test_what_expands_too_much_is_stored_as_it_is() -> None:
    zeros = np.zeros(10**7)
    blob = codecs.squeezed(codecs.encode(zeros))
    assert len(blob) > zeros.nbytes
    assert codecs.decode(blob).shape == zeros.shape


def test_compression_that_does_not_help_is_left_out() -> None:
    assert codecs.squeezed(codecs.encode((1, 2))) == codecs.encode((1, 2))
    assert len(codecs.squeezed(codecs.encode("a" * 10_000))) < 200


def test_other_formats_are_refused() -> None:
    for data in (
        b"",
        b"\x80\x05N.",
        b"\x93NUMPY",
        b"PK\x03\x04" + bytes(60),
        b"ARROW1" * 9,
        b"[1]",
    ):
        refused(data)


def test_mutations_change_something() -> None:
    rng = random.Random(0)
    assert len({mutate(SEEDS[0], SEEDS, rng) for _ in range(200)}) > 150
