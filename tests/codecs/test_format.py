"""`docs/format.md` and the code agree; a reader made from the page reads its example."""

from __future__ import annotations

import importlib
import pkgutil
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import xxhash

from mltraq_prefect import codecs
from mltraq_prefect.codecs import envelope, registry
from mltraq_prefect.errors import CorruptData
from tests.codecs import mutations
from tests.values import assert_identical

for module in pkgutil.iter_modules(codecs.__path__, "mltraq_prefect.codecs."):
    importlib.import_module(module.name)  # which registers its codecs

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")


def example() -> bytes:
    (block,) = re.findall(r"## Example\n.*?```\n(.*?)```", PAGE, re.DOTALL)
    return bytes.fromhex(block)


def read_as_the_page_says(data: bytes) -> tuple[Any, list[bytes]]:
    """A reader of the envelope that shares no code with the package."""
    magic, version, flags, checksum, n_document, n_buffers, size = struct.unpack_from(
        "<4sHHQIIQ", data
    )
    assert (magic, version, flags, size) == (b"MLTQ", 1, 0, len(data) - 32)
    seed = int.from_bytes(data[:8], "little")
    assert xxhash.xxh3_64_intdigest(data[16:], seed=seed) == checksum
    sizes = [int.from_bytes(data[32 + 8 * i : 40 + 8 * i], "little") for i in range(n_buffers)]
    end = 32 + 8 * n_buffers + n_document
    document = orjson.loads(data[end - n_document : end])
    buffers = []
    for length in sizes:
        start = (end + 63) // 64 * 64
        end = start + length
        buffers.append(data[start:end])
    assert end == len(data)
    return document, buffers


def test_the_example_of_the_page_is_what_encode_gives() -> None:
    value = ("a", np.array([1, 2], "<i2"))
    assert codecs.encode(value) == example()
    assert_identical(codecs.decode(example()), value)


def test_a_reader_made_from_the_page_reads_the_example() -> None:
    document, buffers = read_as_the_page_says(example())
    assert document == {"$tuple": ["a", {"$np.array": ["<i2", [2], "C", 0]}]}
    assert struct.unpack("<2h", buffers[0]) == (1, 2)


def test_the_page_lists_every_tag_and_no_other() -> None:
    listed = re.findall(r"^\| `(\$[\w.]+)` \|", PAGE, re.MULTILINE)
    assert sorted(listed) == sorted(registry.DECODERS)


def test_the_page_names_the_constants_of_the_code() -> None:
    assert f"specifies format version {codecs.FORMAT_VERSION};" in PAGE
    assert f"| 0 | 4 | magic | `{envelope.MAGIC.decode()}` |" in PAGE
    assert f"| {envelope.PRELUDE_BYTES} | | payload |" in PAGE
    assert f"at most {envelope.MAX_BYTES:,} |" in PAGE
    expansion = f"at most {envelope.FREE_EXPANSION:,} + {envelope.MAX_EXPANSION:,} *n* bytes"
    assert expansion in PAGE
    assert f"next multiple of {envelope.ALIGNMENT}," in PAGE
    assert f"at most {registry.MAX_DEPTH} levels deep" in PAGE
    assert (envelope.PLAIN, envelope.COMPRESSED) == (1, 2)


def test_the_header_table_adds_up() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    ends = [int(offset) + int(size) for offset, size in rows]
    assert [int(offset) for offset, _ in rows] == [0, *ends[:-1]]
    assert ends[-1] == envelope.PRELUDE_BYTES


def test_the_seeds_of_the_fuzzer_use_every_tag() -> None:
    found = {node for blob in mutations.seeds() for node in tags(mutations.parts(blob)[0])}
    absent = set() if hasattr(np.dtypes, "StringDType") else {"$np.strings"}
    assert set(registry.DECODERS) - found == absent


def tags(node: Any) -> set[str]:
    return {node for node in mutations.nodes(node) if isinstance(node, str) and node[:1] == "$"}


def test_buffers_are_aligned_in_the_file() -> None:
    blob = codecs.encode([np.arange(3), b"x" * 300, np.arange(5.0), [0.5] * 100])
    document, buffers = read_as_the_page_says(blob)
    assert [blob.index(data) % 64 for data in buffers] == [0, 0, 0, 0]
    assert len(document) == 4


def test_a_newer_version_is_named() -> None:
    blob = bytearray(codecs.encode(1))
    blob[4:6] = struct.pack("<H", 2)
    with pytest.raises(CorruptData, match="format version 2, this package reads up to version 1"):
        codecs.decode(mutations.seal(bytes(blob)))
