"""The frame around a document and its buffers: magic, version, lengths, checksum, alignment.

`docs/format.md` specifies it byte by byte.
"""

from __future__ import annotations

import struct
from typing import Any

import xxhash

from mltraq_prefect.codecs.registry import Buffer, FormatError
from mltraq_prefect.version import VALUES_FORMAT

MAGIC = b"MLTQ"
FORMAT_VERSION = VALUES_FORMAT
PLAIN = 1
COMPRESSED = 2
ALIGNMENT = 64
MAX_BYTES = 2**31 - 1
MAX_EXPANSION = 1000
FREE_EXPANSION = 2**20

_HEAD = struct.Struct("<8sQ")
_SIZES = struct.Struct("<IIQ")
_PRELUDE = struct.Struct("<8sQIIQ")
PRELUDE_BYTES = _PRELUDE.size
_FLAGS = (0, PLAIN, COMPRESSED, PLAIN | COMPRESSED)
_STARTS = [struct.pack("<4sHH", MAGIC, FORMAT_VERSION, flags) for flags in _FLAGS]
_SEEDS = [int.from_bytes(start, "little") for start in _STARTS]
_KNOWN = dict(zip(_STARTS, zip(_FLAGS, _SEEDS, strict=True), strict=True))
_ZEROS = memoryview(bytes(ALIGNMENT))


def pack(document: bytes, buffers: list[Buffer], *, plain: bool) -> bytes:
    """Return an envelope.

    Args:
        document: JSON in UTF-8.
        buffers: What the document refers to by number; each is aligned to 64 bytes.
        plain: Whether the document is free of tags.

    Raises:
        OverflowError: It would be larger than `MAX_BYTES`.
    """
    if not buffers and len(document) <= MAX_BYTES:
        rest = _SIZES.pack(len(document), 0, len(document)) + document
        checksum = xxhash.xxh3_64_intdigest(rest, _SEEDS[plain])
        return _HEAD.pack(_STARTS[plain], checksum) + rest
    parts = _payload(document, buffers)
    size = sum(map(len, parts))
    if size > MAX_BYTES:
        raise OverflowError(f"it takes {size:,} bytes; {MAX_BYTES:,} is the most a database holds")
    sizes = _SIZES.pack(len(document), len(buffers), size)
    flags = PLAIN * plain
    head = _HEAD.pack(_STARTS[flags], _checksum(flags, sizes, *parts))
    return b"".join((head, sizes, *parts))


def _payload(document: bytes, buffers: list[Buffer]) -> list[Buffer]:
    lengths = struct.pack(f"<{len(buffers)}Q", *map(len, buffers))
    parts: list[Buffer] = [lengths, document]
    end = PRELUDE_BYTES + len(lengths) + len(document)
    for data in buffers:
        padding = -end % ALIGNMENT
        parts += (_ZEROS[:padding], data)
        end += padding + len(data)
    return parts


def _checksum(flags: int, *parts: Buffer) -> int:
    """XXH3, 64 bits; the seed is the first eight bytes of the envelope, as one number."""
    state = xxhash.xxh3_64(seed=_SEEDS[flags])
    for part in parts:
        state.update(part)
    return int(state.intdigest())


def _compress(payload: bytes) -> bytes | None:
    import pyarrow as pa

    squeezed: bytes = pa.compress(payload, codec="zstd", asbytes=True)
    worth_it = len(squeezed) < len(payload) <= _most(len(squeezed))
    return squeezed if worth_it else None


def squeeze(data: bytes) -> bytes:
    """Return an envelope with its payload compressed, if that makes it smaller."""
    start, _, *sizes = _PRELUDE.unpack_from(data)
    flags, _ = _KNOWN[start]
    payload = data[PRELUDE_BYTES:]
    squeezed = None if flags & COMPRESSED else _compress(payload)
    if squeezed is None:
        return data
    flags, tail = flags | COMPRESSED, _SIZES.pack(*sizes)
    head = _HEAD.pack(_STARTS[flags], _checksum(flags, tail, payload))
    return b"".join((head, tail, squeezed))


def expand(data: bytes) -> bytes:
    """Return an envelope as it was before `squeeze`; what is none, as it is.

    Raises:
        FormatError: The payload is not what was compressed.
    """
    if len(data) < PRELUDE_BYTES:
        return data
    start, _, *sizes = _PRELUDE.unpack_from(data)
    flags, _ = _KNOWN.get(start, (0, 0))
    if not flags & COMPRESSED:
        return data
    payload = _decompress(memoryview(data)[PRELUDE_BYTES:], sizes[-1])
    flags, tail = flags & ~COMPRESSED, _SIZES.pack(*sizes)
    return b"".join((_HEAD.pack(_STARTS[flags], _checksum(flags, tail, payload)), tail, payload))


def _most(stored: int) -> int:
    return FREE_EXPANSION + MAX_EXPANSION * stored


def unpack(data: Any) -> tuple[bytes, list[memoryview], bool, bool]:
    """Take an envelope apart.

    Args:
        data: The envelope, in any bytes-like object.

    Returns:
        The document; its buffers, views of `data` unless that is compressed; whether the document
        is free of tags; whether the buffers may be written to.

    Raises:
        FormatError: It is not an envelope that `pack` can have made.
    """
    if type(data) is not bytes:
        data = memoryview(data).cast("B")
    if len(data) < PRELUDE_BYTES:
        raise FormatError(f"{len(data)} bytes are too few for a stored value")
    start, checksum, n_document, n_buffers, size = _PRELUDE.unpack_from(data)
    if start not in _KNOWN or size > MAX_BYTES:
        raise FormatError(_what_is_wrong(start, size))
    flags, seed = _KNOWN[start]
    if n_buffers or flags & COMPRESSED:
        return _with_buffers(memoryview(data), flags, checksum, n_document, n_buffers, size)
    document = data[PRELUDE_BYTES:]
    if not len(document) == size == n_document:
        raise FormatError(f"{size} bytes were declared, {len(document)} are there")
    if xxhash.xxh3_64_intdigest(data[_HEAD.size :], seed) != checksum:
        raise FormatError("the checksum does not match")
    return bytes(document), [], flags == PLAIN, False


def _with_buffers(
    data: memoryview, flags: int, checksum: int, n_document: int, n_buffers: int, size: int
) -> tuple[bytes, list[memoryview], bool, bool]:
    payload = data[PRELUDE_BYTES:]
    if flags & COMPRESSED:
        payload = _decompress(payload, size)
        found = _checksum(flags, data[_HEAD.size : PRELUDE_BYTES], payload)
    else:
        found = xxhash.xxh3_64_intdigest(data[_HEAD.size :], _SEEDS[flags])
    if len(payload) != size:
        raise FormatError(f"{size} bytes were declared, {len(payload)} are there")
    if found != checksum:
        raise FormatError("the checksum does not match")
    document, buffers = _split(payload, n_document, n_buffers)
    return document, buffers, bool(flags & PLAIN), not payload.readonly


def _what_is_wrong(start: bytes, size: int) -> str:
    magic, version, flags = struct.unpack("<4sHH", start)
    if magic != MAGIC:
        return f"it starts with {magic!r}, not with {MAGIC!r}"
    if version != FORMAT_VERSION:
        return (
            f"it has format version {version}, this package reads up to version {FORMAT_VERSION}; "
            "update the package"
        )
    if flags not in _FLAGS:
        return f"flags {flags:#06x} are unknown"
    return f"{size} bytes are declared; {MAX_BYTES} is the most there can be"


def _decompress(stored: memoryview, size: int) -> memoryview:
    if size > _most(len(stored)):
        raise FormatError(f"{len(stored)} compressed bytes claim to expand to {size}")
    import pyarrow as pa

    try:
        return memoryview(pa.decompress(stored, decompressed_size=size, codec="zstd")).cast("B")
    except (OSError, ValueError) as error:
        raise FormatError(f"compressed bytes: {error}") from error


def _split(payload: memoryview, n_document: int, n_buffers: int) -> tuple[bytes, list[memoryview]]:
    if not n_buffers and n_document == len(payload):
        return bytes(payload), []
    end = 8 * n_buffers + n_document
    if end > len(payload):
        raise FormatError("document and table of buffers are longer than the whole")
    document = bytes(payload[8 * n_buffers : end])
    buffers = []
    for length in struct.unpack_from(f"<{n_buffers}Q", payload):
        start = end + -(PRELUDE_BYTES + end) % ALIGNMENT
        if any(payload[end:start]):
            raise FormatError("padding is not zero")
        end = start + length
        buffers.append(payload[start:end])
    if end != len(payload):
        raise FormatError(f"parts of {end} bytes in a whole of {len(payload)}")
    return document, buffers
