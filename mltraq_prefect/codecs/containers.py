"""Codecs of Python's containers: each has one for a value, and one for many values at once."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable
from itertools import chain
from typing import Any

import numpy as np
import orjson
import xxhash

from mltraq_prefect.codecs.flattening import flatten, regroup
from mltraq_prefect.codecs.python_codec import is_unicode
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    Buffer,
    FormatError,
    Node,
    expect,
    register,
    register_many,
    unpack,
)
from mltraq_prefect.codecs.writer import Writer

PACK_FROM = 64
_PACKED = {float: "<f8", int: "<i8"}

_Sequence = list[Any] | tuple[Any, ...]


def _write_list(value: list[Any], writer: Writer) -> Node:
    return _items(value, writer)


def _items(value: _Sequence, writer: Writer) -> Node:
    if len(value) >= PACK_FROM and (packed := _write_packed(value)):
        return packed
    return writer.nodes(value, value, _at_position)


def _at_position(_: Any, position: int) -> str:
    return f"[{position}]"


def _write_packed(items: _Sequence) -> Node:
    kind = type(items[0])
    if kind not in _PACKED or operator.countOf(map(type, items), kind) != len(items):
        return None
    dtype = _PACKED[kind]
    try:
        array = np.fromiter(items, dtype, len(items))
    except OverflowError:  # an integer beyond 64 bits
        return None
    return {"$list": [dtype, array.view(np.uint8).data]}


def _read_packed(argument: Node, reader: Reader) -> list[Any]:
    dtype, number = unpack(argument, str, int)
    if dtype not in _PACKED.values():
        raise FormatError(f"lists of {dtype!r} are unknown")
    items: list[Any] = np.frombuffer(reader.buffer(number), dtype).tolist()
    return items


def _write_lists(lists: list[list[Any]], writer: Writer) -> list[Node]:
    if max(map(len, lists)) >= PACK_FROM:
        return writer.each(lists, _write_list)
    return _below(lists, writer)


def _below(groups: list[Any], writer: Writer) -> list[Any]:
    """Return groups of nodes for groups of values; `groups` itself if they are their own nodes."""
    items = flatten(groups)
    writer.enter(groups[0])
    nodes = writer.many(items)
    writer.depth -= 1
    return groups if nodes is items else regroup(nodes, groups)


def _write_tuple(value: tuple[Any, ...], writer: Writer) -> Node:
    return {"$tuple": _items(value, writer)}


def _write_tuples(tuples: list[tuple[Any, ...]], writer: Writer) -> list[Node]:
    if max(map(len, tuples)) >= PACK_FROM:
        return writer.each(tuples, _write_tuple)
    return [{"$tuple": items} for items in _below(tuples, writer)]


def _read_tuple(argument: Node, reader: Reader) -> tuple[Any, ...]:
    if type(argument) is list:
        return tuple(reader.values(argument))
    return tuple(expect(reader.value(argument), list))


def _read_tuples(arguments: list[Node], reader: Reader) -> list[tuple[Any, ...]]:
    if operator.countOf(map(type, arguments), list) != len(arguments):
        return [_read_tuple(argument, reader) for argument in arguments]
    return [*map(tuple, reader.many(arguments))]


def _write_set(value: set[Any], writer: Writer) -> Node:
    return {"$set": _write_members(value, writer)}


def _write_frozenset(value: frozenset[Any], writer: Writer) -> Node:
    return {"$frozenset": _write_members(value, writer)}


def _write_members(value: set[Any] | frozenset[Any], writer: Writer) -> Node:
    """Sort the nodes by their text, so that equal sets get equal bytes in any process."""
    return sorted(writer.nodes(value, value, _member), key=_text)


def _text(node: Node) -> bytes:
    return orjson.dumps(node, _digest)


def _digest(data: Buffer) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def _member(members: Any, position: int) -> str:
    return f"{{a {type([*members][position]).__name__}}}"


def _read_set(argument: Node, reader: Reader) -> set[Any]:
    members = reader.values(expect(argument, list))
    found = set(members)
    if len(found) != len(members):
        raise FormatError("a member of a set occurs twice")
    return found


def _read_frozenset(argument: Node, reader: Reader) -> frozenset[Any]:
    return frozenset(_read_set(argument, reader))


def _write_dict(value: dict[Any, Any], writer: Writer) -> Node:
    values = dict.values(value)
    nodes = writer.nodes(value, values, _at_key)
    if _are_names(value, writer):
        return value if nodes is values else dict(zip(value, nodes, strict=True))
    names = writer.nodes(value, value, _key)
    return {"$dict": [*chain.from_iterable(zip(names, nodes, strict=True))]}


def _at_key(container: Any, position: int) -> str:
    return f"[{_short([*container][position])}]"


def _key(container: Any, position: int) -> str:
    return f".keys(){_at_key(container, position)}"


def _are_names(keys: Collection[Any], writer: Writer) -> bool:
    """Return whether the keys of a dict are those of a JSON object that is no tag."""
    if operator.countOf(map(type, keys), str) != len(keys):
        return False
    if writer.names.issuperset(keys):
        return True
    if not is_unicode("".join(keys)) or (len(keys) == 1 and next(iter(keys)).startswith("$")):
        return False
    writer.names.update(key for key in keys if not key.startswith("$"))
    return True


def _write_dicts(dicts: list[dict[Any, Any]], writer: Writer) -> list[Node]:
    if operator.countOf(map(type, chain.from_iterable(dicts)), str) != sum(map(len, dicts)):
        return writer.each(dicts, _write_dict)
    shapes = set(map(tuple, dicts))
    if len(shapes) == 1 and _are_names(dicts[0], writer):
        return _write_alike(dicts[0], dicts, writer)
    return _write_groups(dicts, writer)


def _write_groups(dicts: list[dict[str, Any]], writer: Writer) -> list[Node]:
    """Write dicts whose keys are text, but not all the same, or tags."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for value in dicts:
        groups.setdefault(tuple(value), []).append(value)
    nodes = {shape: iter(_write_group(shape, group, writer)) for shape, group in groups.items()}
    found = [next(nodes[tuple(value)]) for value in dicts]
    return dicts if all(map(operator.is_, found, dicts)) else found


def _write_group(shape: tuple[str, ...], dicts: list[dict[str, Any]], writer: Writer) -> list[Node]:
    if _are_names(shape, writer):
        return _write_alike(shape, dicts, writer)
    return writer.each(dicts, _write_dict)


def _write_alike(keys: Iterable[str], dicts: list[dict[str, Any]], writer: Writer) -> list[Node]:
    """Write dicts that have the same keys in the same order, key by key."""
    found = dicts
    writer.enter(dicts[0])
    for key in keys:
        column = [*map(operator.itemgetter(key), dicts)]
        nodes = writer.many(column)
        if nodes is not column:
            found = [*map(dict.copy, dicts)] if found is dicts else found
            for copy, node in zip(found, nodes, strict=True):
                copy[key] = node
    writer.depth -= 1
    return found


def _read_dict(argument: Node, reader: Reader) -> dict[Any, Any]:
    items = reader.values(expect(argument, list))
    keys = items[0::2]
    found = dict(zip(keys, items[1::2], strict=True))
    if len(found) != len(keys):
        raise FormatError("a key of a dict occurs twice")
    return found


def _short(value: Any, limit: int = 60) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        text = f"<{type(value).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


register(list, "$list", _write_list, _read_packed)
register(tuple, "$tuple", _write_tuple, _read_tuple)
register(set, "$set", _write_set, _read_set)
register(frozenset, "$frozenset", _write_frozenset, _read_frozenset)
register(dict, "$dict", _write_dict, _read_dict)
register_many(list, None, _write_lists, None)
register_many(tuple, "$tuple", _write_tuples, _read_tuples)
register_many(dict, None, _write_dicts, None)
