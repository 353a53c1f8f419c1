"""From nodes of a document to values."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mltraq_prefect.codecs.flattening import flatten, of_kind, regroup, replace
from mltraq_prefect.codecs.registry import (
    DECODERS,
    MANY_DECODERS,
    MAX_DEPTH,
    NESTED,
    FormatError,
    Node,
    find_decoder,
)

MIN_AT_ONCE = 16
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

Memory: TypeAlias = npt.NDArray[np.uint8] | memoryview


class Reader:
    """Turns nodes into values; each buffer is used by exactly one of them.

    A node is of no use any more once it is read: it may have become the value.

    Args:
        buffers: The buffers that the document refers to.
        writable: Whether arrays may lie in the memory of the buffers; if not, each is copied once.
    """

    __slots__ = ("depth", "unused", "writable")

    def __init__(self, buffers: list[memoryview], writable: bool) -> None:
        self.unused = dict(enumerate(buffers)) if buffers else {}
        self.writable = writable
        self.depth = 0

    def value(self, node: Node) -> Any:
        """Return the value of a node."""
        kind = type(node)
        if kind is list:
            return self.values(node)
        if kind is not dict:
            return node
        if len(node) == 1:
            for tag, argument in node.items():
                if tag in DECODERS or tag.startswith("$"):
                    return (DECODERS.get(tag) or find_decoder(tag))(argument, self)
        if self.depth < MAX_DEPTH and NESTED.isdisjoint(map(type, node.values())):
            return node
        return dict(zip(node, self.values([*node.values()]), strict=True))

    def values(self, nodes: list[Node]) -> list[Any]:
        """Return the values of what a container holds; `nodes` itself if they are that."""
        if self.depth >= MAX_DEPTH:
            raise FormatError(_TOO_DEEP)
        if NESTED.isdisjoint(map(type, nodes)):
            return nodes
        self.depth += 1
        if len(nodes) < MIN_AT_ONCE:
            value = self.value
            found = [value(node) if type(node) in NESTED else node for node in nodes]
        else:
            found = self.many(nodes)
        self.depth -= 1
        return found

    def many(self, nodes: list[Node]) -> list[Any]:
        """Return the values of any number of nodes; `nodes` itself if they are that."""
        kinds = dict.fromkeys(map(type, nodes))
        found = nodes
        for kind, read in ((list, self._lists), (dict, self._dicts)):
            if kind in kinds:
                members = nodes if len(kinds) == 1 else of_kind(kind, nodes)
                values = read(members)
                if values is not members:
                    found = values if len(kinds) == 1 else replace(kind, nodes, values, found)
        return found

    def _lists(self, lists: list[Node]) -> list[Any]:
        flat = flatten(lists)
        values = self.values(flat)
        return lists if values is flat else regroup(values, lists)

    def _dicts(self, dicts: list[Node]) -> list[Any]:
        if len(set(map(tuple, dicts))) == 1:
            return self._alike(tuple(dicts[0]), dicts)
        groups: dict[tuple[str, ...], list[Node]] = {}
        shapes = [*map(tuple, dicts)]
        for shape, node in zip(shapes, dicts, strict=True):
            groups.setdefault(shape, []).append(node)
        found = {shape: iter(self._alike(shape, nodes)) for shape, nodes in groups.items()}
        return [next(found[shape]) for shape in shapes]

    def _alike(self, keys: tuple[str, ...], dicts: list[Node]) -> list[Any]:
        """Return the values of dicts that have the same keys in the same order."""
        if len(keys) == 1 and keys[0].startswith("$"):
            return self._tagged(keys[0], [*map(itemgetter(keys[0]), dicts)])
        if self.depth >= MAX_DEPTH:
            raise FormatError(_TOO_DEEP)
        for key in keys:
            column = [*map(itemgetter(key), dicts)]
            values = self.values(column)
            if values is not column:
                for node, value in zip(dicts, values, strict=True):
                    node[key] = value
        return dicts

    def _tagged(self, tag: str, arguments: list[Node]) -> list[Any]:
        if tag in MANY_DECODERS:
            return MANY_DECODERS[tag](arguments, self)  # type: ignore[no-any-return]
        decode = find_decoder(tag)
        return [decode(argument, self) for argument in arguments]

    def part(self, node: Node) -> Any:
        """Return the value of one part of a container."""
        return self.values([node])[0]

    def buffer(self, number: Node) -> memoryview:
        """Return a buffer as it lies in the stored bytes; what refers to it must copy."""
        if type(number) is not int or number not in self.unused:
            raise FormatError(f"there is no buffer {number!r}, or two values share it")
        return self.unused.pop(number)

    def memory(self, number: Node) -> Memory:
        """Return a buffer as memory that may be written to."""
        stored = self.buffer(number)
        if self.writable:
            return stored
        return np.frombuffer(stored, np.uint8).copy()
