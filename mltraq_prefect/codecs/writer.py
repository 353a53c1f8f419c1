"""From values to nodes of a document."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from typing import Any

import orjson

from mltraq_prefect.codecs.flattening import of_kind, replace
from mltraq_prefect.codecs.plain_json import finite
from mltraq_prefect.codecs.registry import (
    ENCODERS,
    MANY_ENCODERS,
    MAX_DEPTH,
    Buffer,
    Encoder,
    Node,
    RefusalError,
    find_encoder,
)

MIN_AT_ONCE = 16

_CONSTANTS = frozenset((type(None), bool))
_ATOMS = _CONSTANTS | {str, int}


class Writer:
    """Turns values into nodes, those of one type in a container all at once.

    It is fast, but its refusals do not say where the value is, and text or integers that JSON has
    no form for fail as the document is made; `CarefulWriter` is for these cases.

    A node holds its buffers as they are; they get their numbers as the document is made, in its
    order, so that equal values get equal bytes whichever writer made the nodes.

    Attributes:
        buffers: What the document refers to, once it is made.
        names: Keys of dicts that were found to be names of JSON.
        widest: Largest number of different containers that were written at once.
    """

    __slots__ = ("buffers", "depth", "names", "widest")
    unchecked = _ATOMS

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.depth = 0
        self.names: set[str] = set()
        self.widest = 0

    def document(self, node: Node) -> bytes:
        """Return the JSON of a node.

        Raises:
            TypeError: It holds text or an integer that JSON has no form for.
        """
        return orjson.dumps(node, self._number)

    def _number(self, data: Buffer) -> int:
        if type(data) not in (bytes, memoryview):
            raise TypeError
        self.buffers.append(data)
        return len(self.buffers) - 1

    def node(self, value: Any) -> Node:
        """Return the node of a value; the value itself if it is that.

        Raises:
            RefusalError: The value cannot be kept exactly.
        """
        encode = ENCODERS.get(type(value)) or find_encoder(value)
        return encode(value, self)

    def nodes(
        self, container: Any, values: Collection[Any], segment: Callable[[Any, int], str]
    ) -> Collection[Node]:
        """Return the nodes of what a container holds; `values` itself if they are their own nodes.

        Args:
            container: The container, to recognise cycles.
            values: What it holds.
            segment: Gives the path from the container to its i-th value.
        """
        del segment  # it is `CarefulWriter` that asks where
        self.enter(container)
        if self.unchecked.issuperset(map(type, values)):
            found = values
        elif len(values) < MIN_AT_ONCE:
            found = self._one_by_one(values)
        else:
            items = [*values]
            found = self.many(items)
            found = values if found is items else found
        self.depth -= 1
        return found

    def enter(self, container: Any) -> None:
        """Note that what comes next is inside a container."""
        if self.depth >= MAX_DEPTH:
            raise RefusalError(container, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        self.depth += 1

    def _one_by_one(self, values: Collection[Any]) -> Collection[Node]:
        found: list[Node] = []
        find, unchecked, same = ENCODERS.get, self.unchecked, True
        for value in values:
            kind = type(value)
            if kind in unchecked or (kind is float and value - value == 0.0):  # finite
                found.append(value)
            else:
                node = (find(kind) or find_encoder(value))(value, self)
                same = same and node is value
                found.append(node)
        return values if same else found

    def many(self, values: list[Any]) -> list[Node]:
        """Return the nodes of any number of values; `values` itself if they are their own nodes."""
        kinds = dict.fromkeys(map(type, values))
        found = values
        for kind in kinds:
            if kind in self.unchecked:
                continue
            members = values if len(kinds) == 1 else of_kind(kind, values)
            nodes = self._alike(kind, members)
            if nodes is not members:
                found = nodes if len(kinds) == 1 else replace(kind, values, nodes, found)
        return found

    def _alike(self, kind: type, values: list[Any]) -> list[Node]:
        """Return the nodes of values of one type."""
        if kind is float and finite(values):
            return values
        if kind not in MANY_ENCODERS:
            return self.each(values, ENCODERS.get(kind) or find_encoder(values[0]))
        if len(values) <= self.widest:
            return MANY_ENCODERS[kind](values, self)  # type: ignore[no-any-return]
        return self._each_once(kind, values)

    def _each_once(self, kind: type, values: list[Any]) -> list[Node]:
        """Write an object once that occurs often: what contains itself would never end else."""
        objects = {id(value): value for value in values}
        once = [*objects.values()]
        self.widest = max(self.widest, len(once))
        nodes = MANY_ENCODERS[kind](once, self)
        if nodes is once:
            return values
        found = dict(zip(objects, nodes, strict=True))
        return [found[id(value)] for value in values]

    def each(self, values: list[Any], encode: Encoder) -> list[Node]:
        """Return the nodes that `encode` makes of the values; `values` itself if they are that."""
        nodes = [encode(value, self) for value in values]
        return values if all(map(operator.is_, nodes, values)) else nodes

    def child(self, container: Any, value: Any, segment: str) -> Node:
        """Return the node of one part of a container, ``container{segment}``."""
        [node] = self.nodes(container, (value,), lambda _, __: segment)
        return node


class CarefulWriter(Writer):
    """Turns values into the same nodes one by one, and says where one is that it refuses."""

    __slots__ = ()
    unchecked = _CONSTANTS

    def nodes(
        self, container: Any, values: Collection[Any], segment: Callable[[Any, int], str]
    ) -> Collection[Node]:
        """Return the nodes of what a container holds; a refusal gets the path to its value."""
        self.enter(container)
        found: list[Node] = []
        try:
            for value in values:
                found.append(self.node(value))
        except RefusalError as refusal:
            raise refusal.inside(container, segment(container, len(found))) from None
        self.depth -= 1
        return values if all(map(operator.is_, found, values)) else found
