"""Hostile bytes: valid blobs with anything changed, checksums forged so that the change is read."""

from __future__ import annotations

import datetime as dt
import random
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import xxhash

from mltraq_prefect import codecs
from tests.codecs.user_types import Pair

PRELUDE = struct.Struct("<4sHHQIIQ")
INTERESTING = (0, 1, 2, 63, 64, 65, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1)


def seal(blob: bytes) -> bytes:
    """Return the blob with the checksum that its content asks for."""
    if len(blob) < PRELUDE.size:
        return blob
    state = xxhash.xxh3_64(seed=int.from_bytes(blob[:8], "little"))
    state.update(blob[16:])
    return blob[:8] + struct.pack("<Q", state.intdigest()) + blob[16:]


def forge(document: Any, *buffers: bytes, flags: int = 0) -> bytes:
    """Return an envelope around any document, with a valid checksum."""
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    payload = struct.pack(f"<{len(buffers)}Q", *map(len, buffers)) + text
    for data in buffers:
        payload += bytes(-(PRELUDE.size + len(payload)) % 64) + data
    head = PRELUDE.pack(b"MLTQ", 1, flags, 0, len(text), len(buffers), len(payload))
    return seal(head + payload)


def parts(blob: bytes) -> tuple[Any, list[bytes]]:
    """Return document and buffers of a valid, uncompressed blob."""
    *_, n_document, n_buffers, _ = PRELUDE.unpack_from(blob)
    lengths = struct.unpack_from(f"<{n_buffers}Q", blob, PRELUDE.size)
    end = PRELUDE.size + 8 * n_buffers + n_document
    document = orjson.loads(blob[end - n_document : end])
    buffers = []
    for length in lengths:
        start = end + -end % 64
        end = start + length
        buffers.append(blob[start:end])
    return document, buffers


def seeds() -> list[bytes]:
    """Return valid blobs that between them hold every tag."""
    return [codecs.encode(value) for value in seed_values()]


def seed_values() -> list[Any]:
    zone = ZoneInfo("Europe/Berlin")
    stamps = pd.date_range("2024-01-01", periods=3, freq="D", tz=zone, name="at")
    frame = pd.DataFrame(
        {
            "f": [0.5, 1.5, np.nan],
            "i": pd.array([1, None, 3], dtype="Int64"),
            "s": ["a", None, "\xe9\xe9"],
            "t": stamps,
            "c": pd.Categorical(["x", "y", "x"]),
            "o": pd.Series([1, "a", (2,)], dtype=object),
        },
        index=pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["n", None]),
    )
    struct_type = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
    nested = pa.array([{"a": 1, "b": ["x", None]}, None, {"a": None, "b": []}], struct_type)
    coded = pa.array(["x", "y", None, "x"]).dictionary_encode()
    return [
        [None, True, 2**70, float("nan"), 1j, "\ud800", b"abc", b"x" * 300, Decimal("1.5")],
        {"plain": [1, 2.5, {"deep": [[["x"]]]}], "text": "\xe9"},
        {1: (2, {3}), (4, 5): frozenset("ab"), "$tuple": {"$tuple": 1}},
        [np.float32(1), np.datetime64("2024-01-01", "D"), np.str_("a"), np.bytes_(b"a")],
        ([0.5] * 100, list(range(100))),
        [stamps[0].to_pydatetime(), dt.date(2024, 1, 1), dt.time(1, 2), dt.timedelta(1)],
        [
            {"x": (i, [0.5]), "y": np.float64(i), "z": [{"t": ()}]} if i % 4 else ((), {"a": 1})
            for i in range(20)
        ],
        uuid.UUID(int=1),
        [Pair(1, "a"), Pair(2.5, Pair((), None))],
        [Fraction(1, 3), Fraction(2**70), Path("a/b"), PureWindowsPath("c:/d"), Path("\ud800")],
        [
            stamps[0],
            pd.Timedelta(1, "s"),
            pd.Period("2024-01", "M"),
            pd.Interval(0, 1),
            pd.NaT,
            pd.NA,
        ],
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.array([(1, "ab", True)], dtype=[("a", "<i4"), ("b", "<U2"), ("c", "?")]),
        *_strings(),
        frame,
        pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]),
        pd.Series([1, 2], index=pd.period_range("2024-01", periods=2, freq="M"), name=("a", 1)),
        pd.Series([1, 2], index=pd.interval_range(0, 2)),
        pd.timedelta_range("1s", periods=3, freq="s"),
        pd.arrays.ArrowExtensionArray(nested),
        pd.arrays.ArrowExtensionArray(coded),
        pd.arrays.ArrowExtensionArray(pa.array([Decimal("1.5"), None], pa.decimal128(5, 1))),
        pd.arrays.ArrowExtensionArray(pa.array([[1], None, []], pa.large_list(pa.int8()))),
        pd.array(["a", None], dtype=pd.StringDtype("python")),
        pd.array([True, None], dtype="boolean"),
        pd.Series([1, 2]).array,
        pd.timedelta_range("1s", periods=2).array,
    ]


def _strings() -> list[Any]:
    """Return an array of variable-width strings, which NumPy 1 has not."""
    if not hasattr(np.dtypes, "StringDType"):
        return []
    return [np.array(["ab", "c"], dtype=np.dtypes.StringDType(na_object=None))]


def mutate(blob: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return the blob after one change or a few, of bytes or of the document."""
    change = rng.choice(_CHANGES)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        blob = change(blob, others, rng)
    return seal(blob) if rng.random() < 0.95 else blob


def _flip(blob: bytes, _: list[bytes], rng: random.Random) -> bytes:
    if not blob:
        return blob
    position = rng.randrange(len(blob))
    return blob[:position] + bytes([rng.randrange(256)]) + blob[position + 1 :]


def _cut(blob: bytes, _: list[bytes], rng: random.Random) -> bytes:
    return blob[: rng.randrange(len(blob) + 1)]


def _insert(blob: bytes, others: list[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    start, position = rng.randrange(len(other)), rng.randrange(len(blob) + 1)
    return blob[:position] + other[start : start + rng.randrange(64)] + blob[position:]


def _number(blob: bytes, _: list[bytes], rng: random.Random) -> bytes:
    """Overwrite an aligned word: lengths, offsets, codes."""
    if len(blob) < 16:
        return blob
    position = rng.randrange(0, len(blob) - 8, 4)
    word = struct.pack("<Q", rng.choice(INTERESTING)) if rng.random() < 0.5 else b"\xff" * 8
    width = rng.choice((1, 2, 4, 8))
    return blob[:position] + word[:width] + blob[position + width :]


def _document(blob: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Change one node of the document, or put a node of another document there."""
    try:
        document, buffers = parts(blob)
        other, _ = parts(rng.choice(others))
    except (ValueError, struct.error):
        return blob
    document = _replace(document, rng.choice(list(nodes(other))), rng)
    if buffers and rng.random() < 0.3:
        i = rng.randrange(len(buffers))
        buffers[i] = _flip(buffers[i] + bytes(rng.choice((0, 0, 1, 8))), others, rng)
    return forge(document, *buffers, flags=rng.choice((0, 0, 0, 1)))


def nodes(node: Any) -> Any:
    yield node
    if isinstance(node, list):
        for item in node:
            yield from nodes(item)
    if isinstance(node, dict):
        for key, item in node.items():
            yield key
            yield from nodes(item)


def _replace(node: Any, other: Any, rng: random.Random) -> Any:
    if isinstance(node, list) and node and rng.random() < 0.8:
        i = rng.randrange(len(node))
        if rng.random() < 0.1:
            return node[:i] + node[i + 1 :]
        return [*node[:i], _replace(node[i], other, rng), *node[i + 1 :]]
    if isinstance(node, dict) and node and rng.random() < 0.8:
        key = rng.choice(list(node))
        if rng.random() < 0.1 and isinstance(other, str):
            return {other if name == key else name: item for name, item in node.items()}
        return node | {key: _replace(node[key], other, rng)}
    if isinstance(node, int) and rng.random() < 0.5:
        return rng.choice((node + 1, node - 1, -node, *INTERESTING))
    return other


Change = Callable[[bytes, list[bytes], random.Random], bytes]
_CHANGES: tuple[Change, ...] = (_flip, _cut, _insert, _number, _document, _document, _document)
