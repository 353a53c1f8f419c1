"""Codecs of NumPy scalars, arrays and dtypes."""

from __future__ import annotations

import functools
import math
import re
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from mltraq_prefect.codecs.python_codec import is_unicode, read_base64, write_base64, write_text
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    AbsentError,
    FormatError,
    Node,
    RefusalError,
    expect,
    register,
    unpack,
)
from mltraq_prefect.codecs.writer import Writer

Array = npt.NDArray[Any]

MAX_DTYPE_DEPTH = 16
MAX_EMPTY_ITEMS = 2**16
_SIMPLE_DTYPE = re.compile(r"[<>][qQ]\Z|[<>|][biufcSUVmM]\d{1,10}(\[\d{0,10}[a-zA-Z]{1,2}\])?\Z")


def write_dtype(dtype: np.dtype[Any]) -> Node:
    """Return the node of a dtype: its `str`, ``[dtype, shape]``, or its fields.

    Raises:
        RefusalError: It holds Python objects, or what its description would lose.
    """
    node = _describe(dtype)
    found = read_dtype(node)
    if found != dtype or found.type is not dtype.type:
        raise RefusalError(dtype, "its dtype cannot be described exactly; use a simpler one")
    return node


def _describe(dtype: np.dtype[Any]) -> Node:
    _check_dtype(dtype)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_describe(base), list(shape)]
    if dtype.fields is None:
        return _describe_simple(dtype)
    fields = [[name, _describe(dtype[name]), dtype.fields[name][1]] for name in _names(dtype)]
    return {"fields": fields, "itemsize": dtype.itemsize, "aligned": dtype.isalignedstruct}


def _describe_simple(dtype: np.dtype[Any]) -> str:
    """C's long long is a type of its own where long has the same size."""
    text: str = dtype.str
    return text[0] + dtype.char if dtype.char in "qQ" else text


def _names(dtype: np.dtype[Any]) -> tuple[str, ...]:
    return dtype.names or ()


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.hasobject:
        raise RefusalError(
            dtype, "Python objects have no exact form there; use a list, or a fixed dtype"
        )
    if dtype.metadata is not None or len(dtype.fields or ()) != len(_names(dtype)):
        raise RefusalError(dtype, "metadata and titles of a dtype would be lost; drop them")
    if dtype.kind == "V" and dtype.type is not np.void:
        raise RefusalError(dtype, "record types lose their class; use a plain structured dtype")
    if dtype.kind not in "biufcSUVmM":
        raise RefusalError(dtype, f"dtype {dtype} is unknown; convert to a dtype of NumPy's own")


def read_dtype(node: Node, depth: int = 0) -> Any:
    """Return the dtype of a node."""
    if depth > MAX_DTYPE_DEPTH:
        raise FormatError(f"a dtype nested deeper than {MAX_DTYPE_DEPTH} levels")
    if type(node) is str:
        return _read_simple(node)
    if type(node) is list:
        base, shape = unpack(node, None, list)
        return np.dtype((read_dtype(base, depth + 1), read_shape(shape)))
    return _read_fields(expect(node, dict), depth)


@functools.lru_cache(maxsize=1024)
def _read_simple(text: str) -> np.dtype[Any]:
    if not _SIMPLE_DTYPE.match(text):
        raise FormatError(f"dtype {text[:40]!r} is unknown")
    return np.dtype(text)


def _read_fields(node: dict[str, Node], depth: int) -> Any:
    if list(node) != ["fields", "itemsize", "aligned"]:
        raise FormatError("a dtype has fields, itemsize and aligned")
    fields = [tuple(unpack(field, str, None, int)) for field in expect(node["fields"], list)]
    description: Any = {
        "names": [name for name, _, _ in fields],
        "formats": [read_dtype(base, depth + 1) for _, base, _ in fields],
        "offsets": [offset for _, _, offset in fields],
        "itemsize": expect(node["itemsize"], int),
    }
    return np.dtype(description, align=expect(node["aligned"], bool))


def read_shape(node: Node) -> tuple[int, ...]:
    """Return a shape: a tuple of integers, none of them negative."""
    shape = tuple(expect(length, int) for length in expect(node, list))
    if any(length < 0 for length in shape):
        raise FormatError(f"{shape} is not a shape")
    return shape


def write_array(array: Array) -> Node:
    """Return ``[dtype, shape, order, buffer]`` of an array.

    An array that is contiguous in Fortran's order alone keeps it; any other gets C's.
    """
    fortran = array.flags.fnc
    try:
        dtype = write_dtype(array.dtype)
    except RefusalError as refusal:
        raise RefusalError(array, refusal.reason) from None
    if array.itemsize == 0 and array.size > MAX_EMPTY_ITEMS:
        raise RefusalError(array, f"{array.size:,} items of zero bytes; give its dtype a size")
    flat = _contiguous(array.T if fortran else array).reshape(-1)
    data = flat.view(np.uint8).data if flat.nbytes else b""
    return [dtype, list(array.shape), "F" if fortran else "C", data]


def _contiguous(array: Array) -> Array:
    """Return the array in C's order, with zeros between the fields of its items."""
    return _clean(array) if _is_padded(array.dtype) else np.ascontiguousarray(array)


def _clean(array: Any) -> Array:
    """Return a copy of structured items: NumPy copies their fields alone."""
    clean = np.array(array, order="C")  # with what is between the fields, from NumPy 2.5 on
    items = clean.reshape(-1).view(np.uint8).reshape(-1, clean.itemsize)
    items[:, ~_used(clean.dtype)] = 0
    return clean


def _is_padded(dtype: np.dtype[Any]) -> bool:
    """Whether there are bytes between the fields of an item, which hold what was in memory."""
    return dtype.names is not None and not all(_used(dtype))


def _used(dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    """Return of each byte of an item whether it belongs to a value."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.tile(_used(base), math.prod(shape))
    if dtype.names is None:
        return np.ones(dtype.itemsize, np.bool_)
    used = np.zeros(dtype.itemsize, np.bool_)
    fields: Any = dtype.fields
    for name in dtype.names:
        field, offset = dtype[name], fields[name][1]
        used[offset : offset + field.itemsize] |= _used(field)
    return used


def read_array(node: Node, reader: Reader) -> Array:
    """Return an array that may be written to."""
    dtype_node, shape_node, order, number = unpack(node, None, None, str, int)
    dtype, shape = read_dtype(dtype_node), read_shape(shape_node)
    memory = reader.memory(number)
    _check_size(dtype, shape, order, len(memory))
    array: Array = np.ndarray(shape, dtype, buffer=memory, order=order)
    _check_items(array)
    return array


def _check_size(dtype: np.dtype[Any], shape: tuple[int, ...], order: str, size: int) -> None:
    items = math.prod(shape)
    if items * dtype.itemsize != size:
        raise FormatError(f"shape {shape} of {dtype.itemsize}-byte items does not fit {size} bytes")
    if dtype.itemsize == 0 and items > MAX_EMPTY_ITEMS:
        raise FormatError(f"{items} items of zero bytes")
    if order not in ("C", "F") or dtype.subdtype is not None:
        raise FormatError("neither C's nor Fortran's order, or a dtype with a shape")


def _check_items(array: Array) -> None:
    """Refuse memory that is no bool, and no text: reading an item of it is not defined."""
    for name in _names(array.dtype):
        _check_items(array[name])
    if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise FormatError("a bool is neither 0 nor 1")
    if array.dtype.kind == "U" and array.size and array.itemsize:
        flat = np.ascontiguousarray(array).reshape(-1)
        if flat.view(array.dtype.byteorder + "u4").max() > sys.maxunicode:
            raise FormatError("a code point is beyond Unicode")


def _write_ndarray(array: Array, writer: Writer) -> Node:
    if array.dtype.kind == "T":
        return {"$np.strings": _write_strings(array, writer)}
    return {"$np.array": write_array(array)}


def _write_strings(array: Array, writer: Writer) -> Node:
    """Variable-width strings: shape, order, coerce, [missing value], items with null for it."""
    dtype: Any = array.dtype
    missing = [dtype.na_object] if hasattr(dtype, "na_object") else []
    order: Any = "F" if array.flags.fnc else "C"
    items = [item if type(item) is str else None for item in array.ravel(order).tolist()]
    absent = writer.nodes(array, missing, lambda _, __: ".dtype.na_object")
    return [list(array.shape), order, dtype.coerce, absent, items]


def _read_strings(argument: Node, reader: Reader) -> Array:
    shape, order, coerce, absent, items = unpack(argument, list, str, bool, list, list)
    missing = reader.values(absent)
    kinds = {str, type(None)} if missing else {str}
    if len(missing) > 1 or not set(map(type, items)) <= kinds or order not in ("C", "F"):
        raise FormatError("no array of strings")
    options = {"na_object": missing[0]} if missing else {}
    dtype = _string_dtype(coerce, options)
    array = np.empty(len(items), dtype)
    array[:] = [missing[0] if item is None else item for item in items]
    return array.reshape(read_shape(shape), order=order)


def _string_dtype(coerce: bool, options: dict[str, Any]) -> Any:
    if not hasattr(np.dtypes, "StringDType"):
        raise AbsentError("an array of variable-width strings", "numpy", np.__version__, ">=2.2.6")
    return np.dtypes.StringDType(coerce=coerce, **options)


def _write_scalar(value: np.generic, _: Writer) -> Node:
    node = _NUMBER_TYPES.get(type(value)) or write_dtype(value.dtype)
    memory = _clean(value) if _is_padded(value.dtype) else value
    return {"$np.scalar": [node, write_base64(memory.tobytes())]}


def _read_scalar(argument: Node, _: Reader) -> Any:
    node, text = expect(argument, list)
    dtype = _read_simple(node) if type(node) is str else read_dtype(node)
    raw = read_base64(text)
    if dtype.kind in "SU" or dtype.subdtype is not None or len(raw) != dtype.itemsize:
        raise FormatError(f"{len(raw)} bytes are not a scalar of dtype {dtype}")
    if dtype.kind in "iufcmM":
        return np.frombuffer(raw, dtype)[0]
    array: Array = np.ndarray((), dtype, buffer=bytearray(raw))
    _check_items(array)
    return array[()]


def _write_np_str(value: np.str_, _: Writer) -> Node:
    text = str.__str__(value)  # str() drops NULs at the end
    return {"$np.str": text if is_unicode(text) else write_text(text)}


def _read_np_str(argument: Node, reader: Reader) -> np.str_:
    return np.str_(expect(reader.value(argument), str))


def _write_np_bytes(value: np.bytes_, _: Writer) -> Node:
    return {"$np.bytes": write_base64(bytes(value))}


def _read_np_bytes(argument: Node, _: Reader) -> np.bytes_:
    return np.bytes_(read_base64(argument))


_SCALAR_TYPES = {np.dtype(code).type for code in np.typecodes["All"]} - {
    np.object_,
    np.str_,
    np.bytes_,
}

_NUMBER_TYPES: dict[type, str] = {
    kind: _describe_simple(np.dtype(kind))
    for kind in _SCALAR_TYPES
    if issubclass(kind, (np.number, np.bool_)) and not issubclass(kind, np.timedelta64)
}

for _kind in _SCALAR_TYPES:
    register(_kind, "$np.scalar", _write_scalar, _read_scalar)
register(np.str_, "$np.str", _write_np_str, _read_np_str)
register(np.bytes_, "$np.bytes", _write_np_bytes, _read_np_bytes)
register(np.ndarray, "$np.array", _write_ndarray, read_array)
register(None, "$np.strings", None, _read_strings)
