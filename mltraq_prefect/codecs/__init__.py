"""Values to bytes and back, exactly; values to JSON text where that is exact.

`docs/format.md` specifies the bytes. Neither pandas nor pyarrow is imported before a value of
theirs is met.
"""

from __future__ import annotations

from typing import Any

import orjson

from mltraq_prefect.codecs import envelope, numpy_codec, plain_json, python_codec  # noqa: F401
from mltraq_prefect.codecs.envelope import FORMAT_VERSION
from mltraq_prefect.codecs.plain_json import from_json, project_json, to_json
from mltraq_prefect.codecs.registry import Buffer, FormatError, Reader, RefusalError, Writer
from mltraq_prefect.errors import CorruptData, UnsupportedType

__all__ = ["FORMAT_VERSION", "decode", "encode", "from_json", "project_json", "to_json"]

LONG_LIST = 1000


def encode(value: Any, *, path: str = "value", compress: bool = False) -> bytes:
    """Return bytes from which `decode` makes an identical value.

    Args:
        value: A value of the supported types, nested at will.
        path: What error messages call the value, such as ``fields.scores``.
        compress: Compress with Zstandard if that makes it smaller.

    Raises:
        UnsupportedType: Some part of the value cannot be kept exactly; names which, and why.
    """
    try:
        document = plain_json.dump(value, pack_from=LONG_LIST)
        if document is not None:
            return envelope.pack(document, [], plain=True, compress=compress)
        document, buffers = _write(value)
        return envelope.pack(document, buffers, plain=False, compress=compress)
    except RefusalError as refusal:
        raise _unsupported(refusal, path) from None
    except OverflowError as error:
        raise _unsupported(RefusalError(value, str(error)), path) from None


def _write(value: Any) -> tuple[bytes, list[Buffer]]:
    writer = Writer(careful=False)
    try:
        return orjson.dumps(writer.node(value)), writer.buffers
    except TypeError:  # text or an integer that JSON has no form for
        writer = Writer(careful=True)
    node = writer.node(value)
    try:
        return orjson.dumps(node), writer.buffers
    except TypeError as error:
        raise RefusalError(value, f"{error}; flatten it") from None


def _unsupported(refusal: RefusalError, path: str) -> UnsupportedType:
    """Say where the value is; what is inside itself is refused for that, not for its depth."""
    value, reason, trail = refusal.value, refusal.reason, refusal.trail[::-1]
    seen: set[int] = set()
    for depth, container in enumerate([*(around for around, _ in trail), value]):
        if id(container) in seen:
            value, reason = container, "it contains itself; store what refers to it by a key"
            trail = trail[:depth]
            break
        seen.add(id(container))
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return UnsupportedType(_short(path + "".join(step for _, step in trail)), name, reason)


def _short(path: str) -> str:
    return path if len(path) <= 300 else f"{path[:150]} ... {path[-100:]}"


def decode(data: bytes | bytearray | memoryview) -> Any:
    """Return the value that `encode` made bytes of.

    Arrays may be written to. Those of a `bytes` object are copied once; from memory that may be
    written to (a `bytearray`) they are views, and the caller must then leave that memory to them.

    Raises:
        CorruptData: They are not such bytes, whatever they are.
    """
    try:
        document, buffers, plain, writable = envelope.unpack(data)
        if plain:
            return _read_plain(document, buffers)
        return _read(document, Reader(buffers, writable))
    except FormatError as error:
        raise CorruptData(str(error)) from None
    except Exception as error:
        raise CorruptData(f"{type(error).__name__}: {error}") from error


def _read_plain(document: bytes, buffers: list[memoryview]) -> Any:
    if buffers:
        raise FormatError("a plain document has no buffers")
    return plain_json.parse(document)


def _read(document: bytes, reader: Reader) -> Any:
    node = orjson.loads(document)
    if orjson.dumps(node) != document:
        raise FormatError("the document is not in the form that was written")
    value = reader.value(node)
    if reader.unused:
        raise FormatError("a buffer belongs to no value")
    return value
