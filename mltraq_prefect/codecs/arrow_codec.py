"""Arrow arrays as nodes and buffers, for pandas arrays that Arrow holds.

The buffers are those of the Arrow columnar format (https://arrow.apache.org/docs/format/Columnar.html),
little-endian. Arrow's own message framing (IPC) is not used: what is read here may be hostile, and
its parser takes schemas, compression and sizes from the bytes themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    AbsentError,
    Buffer,
    FormatError,
    Node,
    RefusalError,
    expect,
    unpack,
)

MAX_LENGTH = 2**31 - 1
MAX_TYPE_DEPTH = 16

_UNITS = ("s", "ms", "us", "ns")
_SIMPLE_TYPES = {
    str(kind): kind
    for kind in (
        *(pa.null(), pa.bool_(), pa.float16(), pa.float32(), pa.float64()),
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary()),
        *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms")),
        *(pa.time64("us"), pa.time64("ns")),
        *map(pa.timestamp, _UNITS),
        *map(pa.duration, _UNITS),
    )
}
_DECIMAL_BITS = (32, 64, 128, 256)


def write_type(kind: pa.DataType) -> Node:
    """Return the node of an Arrow type.

    Raises:
        RefusalError: It is not one of those that can be described exactly.
    """
    node = _describe(kind)
    if node is None or not read_type(node).equals(kind, check_metadata=True):
        raise RefusalError(
            kind, f"Arrow's type {kind} is not supported; cast the column to a plain type"
        )
    return node


def _describe(kind: pa.DataType) -> Node:
    if str(kind) in _SIMPLE_TYPES:
        return str(kind)
    for matches, describe in _PARAMETRIC:
        if matches(kind):
            return describe(kind)
    return None


_PARAMETRIC: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Node]], ...] = (
    (pa.types.is_timestamp, lambda kind: ["timestamp", kind.unit, kind.tz]),
    (pa.types.is_decimal, lambda kind: ["decimal", kind.bit_width, kind.precision, kind.scale]),
    (pa.types.is_fixed_size_binary, lambda kind: ["binary", kind.byte_width]),
    (pa.types.is_list, lambda kind: ["list", _field(kind.value_field)]),
    (pa.types.is_large_list, lambda kind: ["large_list", _field(kind.value_field)]),
    (pa.types.is_struct, lambda kind: ["struct", *map(_field, kind)]),
    (
        pa.types.is_dictionary,
        lambda kind: [
            "dictionary",
            *map(_describe, (kind.index_type, kind.value_type)),
            kind.ordered,
        ],
    ),
)


def _field(field: pa.Field) -> Node:
    return [field.name, _describe(field.type), field.nullable]


def read_type(node: Node, depth: int = 0) -> pa.DataType:
    """Return the Arrow type of a node."""
    if depth > MAX_TYPE_DEPTH:
        raise FormatError(f"an Arrow type nested deeper than {MAX_TYPE_DEPTH} levels")
    if type(node) is str and node in _SIMPLE_TYPES:
        return _SIMPLE_TYPES[node]
    name, *arguments = expect(node, list)
    if name not in _READERS:
        raise FormatError("an unknown Arrow type")
    return _READERS[name](arguments, depth + 1)


def _read_timestamp(arguments: list[Node], _: int) -> pa.DataType:
    unit, zone = unpack(arguments, str, str)
    return pa.timestamp(unit, zone)


def _read_decimal(arguments: list[Node], _: int) -> pa.DataType:
    bits, precision, scale = unpack(arguments, int, int, int)
    if bits not in _DECIMAL_BITS:
        raise FormatError(f"a decimal of {bits} bits")
    make = getattr(pa, f"decimal{bits}", None)
    if make is None:
        raise AbsentError(f"a decimal of {bits} bits", "pyarrow", pa.__version__, ">=19")
    return make(precision, scale)


def _read_binary(arguments: list[Node], _: int) -> pa.DataType:
    (width,) = unpack(arguments, int)
    if width < 0:
        raise FormatError("a negative width")
    return pa.binary(width)


def _read_list(arguments: list[Node], depth: int) -> pa.DataType:
    (field,) = unpack(arguments, list)
    return pa.list_(_read_field(field, depth))


def _read_large_list(arguments: list[Node], depth: int) -> pa.DataType:
    (field,) = unpack(arguments, list)
    return pa.large_list(_read_field(field, depth))


def _read_struct(arguments: list[Node], depth: int) -> pa.DataType:
    return pa.struct([_read_field(field, depth) for field in arguments])


def _read_dictionary(arguments: list[Node], depth: int) -> pa.DataType:
    index, values, ordered = unpack(arguments, str, None, bool)
    return pa.dictionary(_SIMPLE_TYPES[index], read_type(values, depth), ordered=ordered)


def _read_field(node: Node, depth: int) -> pa.Field:
    name, kind, nullable = unpack(node, str, None, bool)
    return pa.field(name, read_type(kind, depth), nullable=nullable)


_READERS: dict[str, Callable[[list[Node], int], pa.DataType]] = {
    "timestamp": _read_timestamp,
    "decimal": _read_decimal,
    "binary": _read_binary,
    "list": _read_list,
    "large_list": _read_large_list,
    "struct": _read_struct,
    "dictionary": _read_dictionary,
}


def write_arrow(values: pa.Array | pa.ChunkedArray) -> Node:
    """Return ``[type, array]``, where array is ``[length, buffers, children]``."""
    if sys.byteorder != "little":
        raise RefusalError(values, "Arrow arrays are stored on little-endian machines only")
    kind = write_type(values.type)
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    return [kind, _write_level(values)]


def _write_level(array: pa.Array) -> Node:
    if array.offset:
        array = pa.concat_arrays([array])
    sizes, children = _layout(array)
    first = [] if pa.types.is_null(array.type) else [_validity(array)]
    rest = zip(array.buffers()[1 : 1 + len(sizes)], sizes, strict=True)
    buffers = [*first, *(_head(data, size) for data, size in rest)]
    return [len(array), buffers, [_write_level(child) for child in children]]


def _validity(array: pa.Array) -> Buffer | None:
    if not array.null_count:
        return None
    return _head(array.buffers()[0], -(-len(array) // 8))


def _head(data: pa.Buffer | None, size: int) -> Buffer:
    return memoryview(data).cast("B")[:size] if data is not None and size else b""


def _layout(array: pa.Array) -> tuple[list[int], list[pa.Array]]:
    """Return the sizes of an array's buffers after the validity bitmap, and its children."""
    kind = array.type
    if pa.types.is_null(kind):
        return [], []
    if pa.types.is_struct(kind):
        return [], [array.field(i) for i in range(kind.num_fields)]
    if pa.types.is_dictionary(kind):
        return _fixed(len(array), kind.index_type), [array.dictionary]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [_offsets(array)[0]], [array.values]
    if _has_offsets(kind):
        return list(_offsets(array)), []
    return _fixed(len(array), kind), []


def _fixed(length: int, kind: pa.DataType) -> list[int]:
    return [-(-length * kind.bit_width // 8)]


def _has_offsets(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())


def _offsets(array: pa.Array) -> tuple[int, int]:
    """Return the size of the offsets, and the last of them."""
    large = array.type.id in (pa.large_string().id, pa.large_binary().id, _LARGE_LIST)
    width = 8 if large else 4
    data = array.buffers()[1]
    if not len(array) or data is None:
        return 0, 0
    last = np.frombuffer(data, f"<i{width}", count=1, offset=width * len(array))
    return width * (len(array) + 1), int(last[0])


_LARGE_LIST = pa.large_list(pa.null()).id


def read_arrow(node: Node, reader: Reader) -> pa.Array:
    """Return an Arrow array, in the memory of the stored bytes, fully validated."""
    kind, level = unpack(node, None, list)
    array = _read_level(read_type(kind), level, reader)
    if not _is_ascii_text(array):
        array.validate(full=True)
    return array


def _is_ascii_text(array: pa.Array) -> bool:
    """Validate an array of strings that are ASCII, which is several times faster than Arrow's way.

    ASCII may be cut anywhere, so what is left to see is that no string ends before it starts.
    """
    if str(array.type) not in ("string", "large_string") or not len(array):
        return False
    array.validate()
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, "<i8" if array.type == pa.large_string() else "<i4")
    if np.frombuffer(data, np.uint8).max(initial=0) > 127:
        return False
    return starts[0] >= 0 and starts[-1] <= data.size and bool((starts[1:] >= starts[:-1]).all())


def _read_level(kind: pa.DataType, node: Node, reader: Reader) -> pa.Array:
    length, numbers, children = unpack(node, int, list, list)
    if not 0 <= length <= MAX_LENGTH:
        raise FormatError(f"an Arrow array of {length} items")
    buffers = [_read_buffer(number, reader) for number in numbers]
    if pa.types.is_null(kind):
        return pa.nulls(*unpack([length, *buffers], int))
    if None in numbers[1:]:
        raise FormatError("only the validity bitmap may be absent")
    if pa.types.is_dictionary(kind):
        return _read_dictionary_array(kind, length, buffers, children, reader)
    kinds = [kind.field(i).type for i in range(kind.num_fields)]
    arrays = [_read_level(*pair, reader) for pair in zip(kinds, children, strict=True)]
    return pa.Array.from_buffers(kind, length, buffers, children=arrays or None)


def _read_buffer(number: Node, reader: Reader) -> pa.Buffer | None:
    return None if number is None else pa.py_buffer(reader.buffer(number))


def _read_dictionary_array(
    kind: pa.DataType, length: int, buffers: list[Any], children: list[Node], reader: Reader
) -> pa.Array:
    (child,) = unpack(children, list)
    values = _read_level(kind.value_type, child, reader)
    indices = pa.Array.from_buffers(kind.index_type, length, buffers)
    indices.validate(full=True)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
