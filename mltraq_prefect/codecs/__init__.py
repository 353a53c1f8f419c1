"""Values to bytes and back, exactly; values to JSON text where that is exact.

`docs/format.md` specifies the bytes. Neither pandas nor pyarrow is imported before a value of
theirs is met.
"""

from __future__ import annotations

from typing import Any

import orjson

from mltraq_prefect.codecs import (  # noqa: F401
    containers,
    envelope,
    library_codec,
    numpy_codec,
    plain_json,
)
from mltraq_prefect.codecs.envelope import FORMAT_VERSION
from mltraq_prefect.codecs.namespaces import unwrapped
from mltraq_prefect.codecs.plain_json import each_to_json, from_json, project_json, to_json
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    MANY_ENCODERS,
    NESTED,
    AbsentError,
    Buffer,
    FormatError,
    RefusalError,
)
from mltraq_prefect.codecs.user_codec import UserCodec, register_codec, user_codecs
from mltraq_prefect.codecs.writer import CarefulWriter, Writer
from mltraq_prefect.errors import CorruptData, UnavailableType, UnsupportedType
from mltraq_prefect.model.collection import uncollected

__all__ = [
    "FORMAT_VERSION",
    "UserCodec",
    "buffers",
    "check",
    "decode",
    "each_to_json",
    "encode",
    "expanded",
    "from_json",
    "project_json",
    "register_codec",
    "squeezed",
    "to_json",
    "uncollected",
    "user_codecs",
]

LONG_DOCUMENT = 10_000

MANY_BYTES = 2**30
"""Below this, no value is too large for an envelope."""


def squeezed(data: bytes) -> bytes:
    """Return what `encode` returned, compressed with Zstandard if that makes it smaller."""
    return envelope.squeeze(data)


def expanded(data: bytes) -> bytes:
    """Return what `encode` returned before it was `squeezed`; other bytes as they are."""
    try:
        return envelope.expand(data)
    except FormatError:
        return data


def encode(value: Any, *, path: str = "value") -> bytes:
    """Return bytes from which `decode` makes an identical value; the same for identical values.

    Args:
        value: A value of the supported types, nested at will.
        path: What error messages call the value, such as ``fields.scores``.

    Raises:
        UnsupportedType: Some part of the value cannot be kept exactly; names which, and why.
    """
    try:
        if type(value) in MANY_ENCODERS:
            return uncollected(_write, value, Writer())
        return _write(value, Writer())
    except (RefusalError, TypeError):
        return _write_carefully(unwrapped(value), path)
    except OverflowError as error:
        raise _unsupported(RefusalError(value, str(error)), path) from None


def check(value: Any, *, path: str = "value") -> None:
    """Raise what `encode` would raise, without a copy of large parts.

    Args:
        value: A value.
        path: What error messages call it.

    Raises:
        UnsupportedType: Some part of the value cannot be kept exactly; names which, and why.
    """
    try:
        writer = Writer()
        document = writer.document(writer.node(value))
        if len(document) + sum(map(len, writer.buffers)) < MANY_BYTES:
            return
    except (RefusalError, TypeError, OverflowError):
        pass
    encode(value, path=path)


def buffers(value: Any) -> list[Buffer]:
    """Return the parts of what `encode` makes, without a copy of arrays that need none.

    Raises:
        UnsupportedType: Some part of the value cannot be kept exactly.
    """
    writer = CarefulWriter()
    try:
        document = writer.document(writer.node(value))
    except RefusalError as refusal:
        raise _unsupported(refusal, "value") from None
    except (OverflowError, TypeError) as error:
        raise _unsupported(RefusalError(value, str(error)), "value") from None
    return [document, *writer.buffers]


def _write(value: Any, writer: Writer) -> bytes:
    node = writer.node(value)
    plain = node is value and type(value) in NESTED
    document = writer.document(node)
    return envelope.pack(document, writer.buffers, plain=plain)


def _write_carefully(value: Any, path: str) -> bytes:
    try:
        return _write(value, CarefulWriter())
    except RefusalError as refusal:
        raise _unsupported(refusal, path) from None
    except (OverflowError, TypeError) as error:
        raise _unsupported(RefusalError(value, f"{error}; flatten it"), path) from None


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
        UnavailableType: The type of the value is not to be had here: an installed library is of a
            version without it, or its codec is not registered.
        CorruptData: They are not such bytes, whatever they are.
    """
    try:
        document, buffers, plain, writable = envelope.unpack(data)
        if len(document) < LONG_DOCUMENT:
            return _read(document, buffers, plain, writable)
        return uncollected(_read, document, buffers, plain, writable)
    except AbsentError as error:
        raise UnavailableType(str(error)) from None
    except FormatError as error:
        raise CorruptData(str(error)) from None
    except Exception as error:
        # Its message may quote the value.
        raise CorruptData(f"{type(error).__name__} while it was read") from None


def _read(document: bytes, buffers: list[memoryview], plain: bool, writable: bool) -> Any:
    node = orjson.loads(document)
    if orjson.dumps(node) != document:
        raise FormatError("the document is not in the form that was written")
    if plain:
        return _read_plain(node, document, buffers)
    if type(node) not in NESTED and not buffers:
        return node
    reader = Reader(buffers, writable)
    value = reader.value(node)
    if reader.unused:
        raise FormatError("a buffer belongs to no value")
    return value


def _read_plain(node: Any, document: bytes, buffers: list[memoryview]) -> Any:
    if buffers:
        raise FormatError("a plain document has no buffers")
    plain_json.check_depth(node, document)
    return node
