"""The one table of codecs, and the two walkers that use it: value to document and back.

A document is JSON (RFC 8259) in which an object with exactly one key, and that one starting with
``$``, is a tag: ``{"$tuple": [1, 2]}``. A dict of the user that would look like one is itself
written with the tag ``$dict``, so a tag cannot be forged. Large binary parts are not in the
document; it refers to them by their number.

The modules of foreign libraries that are slow to import register their codecs when the first of
their values or tags is met.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Node: TypeAlias = Any
Buffer: TypeAlias = bytes | memoryview
Memory: TypeAlias = npt.NDArray[np.uint8] | memoryview
Encoder: TypeAlias = Callable[[Any, "Writer"], Node]
Decoder: TypeAlias = Callable[[Any, "Reader"], Any]

MAX_DEPTH = 100

ENCODERS: dict[type, Encoder] = {}
DECODERS: dict[str, Decoder] = {}

_LAZY = {"pandas": "mltraq_prefect.codecs.pandas_frames"}
_LAZY_TAGS = {"$pd.": "mltraq_prefect.codecs.pandas_frames"}


class FormatError(Exception):
    """A document that no value has; becomes `CorruptData` where the format is known to be ours."""


class RefusalError(Exception):
    """A value that cannot be kept exactly; the containers around it add where it is.

    Attributes:
        value: The offending value.
        reason: What to use instead.
        trail: The containers around it, the innermost first, and the path from each.
    """

    def __init__(self, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self.trail: list[tuple[Any, str]] = []

    def inside(self, container: Any, segment: str) -> RefusalError:
        """Note that the value is in `container`, at ``container{segment}``."""
        self.trail.append((container, segment))
        return self


def register(
    kind: type | None, tag: str | None, encode: Encoder | None, decode: Decoder | None
) -> None:
    """Enter a codec in the table.

    Args:
        kind: Exact type whose values `encode` takes; None for a tag that shares its type.
        tag: Tag that `decode` reads, with its ``$``; None for what needs none.
        encode: Maps a value to a node of the document.
        decode: Maps the argument of the tag to the value.
    """
    if kind is not None and encode is not None:
        ENCODERS[kind] = encode
    if tag is not None and decode is not None:
        DECODERS[tag] = decode


class Writer:
    """Turns values into nodes of a document, and collects their buffers.

    Args:
        careful: Whether to check text and integers that JSON may have no form for one by one; if
            not, making the JSON fails with a TypeError for them.
    """

    __slots__ = ("buffers", "depth", "names", "unchecked")

    def __init__(self, *, careful: bool) -> None:
        self.buffers: list[Buffer] = []
        self.depth = 0
        self.names: set[str] = set()
        self.unchecked = _CONSTANTS if careful else _ATOMS

    def node(self, value: Any) -> Node:
        """Return the node of a value.

        Raises:
            RefusalError: The value cannot be kept exactly.
        """
        encode = ENCODERS.get(type(value)) or find_encoder(value)
        return encode(value, self)

    def nodes(
        self, container: Any, values: Iterable[Any], segment: Callable[[Any, int], str]
    ) -> list[Node]:
        """Return the nodes of what a container holds.

        Args:
            container: The container, to recognise cycles.
            values: What it holds.
            segment: Gives the path from the container to its i-th value.
        """
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RefusalError(container, f"nested deeper than {MAX_DEPTH} levels; flatten it")
        found: list[Node] = []
        unchecked = self.unchecked
        find = ENCODERS.get
        try:
            for value in values:
                kind = type(value)
                if kind in unchecked:
                    found.append(value)
                else:
                    found.append((find(kind) or find_encoder(value))(value, self))
        except RefusalError as refusal:
            raise refusal.inside(container, segment(container, len(found))) from None
        self.depth -= 1
        return found

    def child(self, container: Any, value: Any, segment: str) -> Node:
        """Return the node of one part of a container, ``container{segment}``."""
        return self.nodes(container, (value,), lambda _, __: segment)[0]

    def buffer(self, data: Buffer) -> int:
        """Add a buffer, and return its number."""
        self.buffers.append(data)
        return len(self.buffers) - 1


_CONSTANTS = frozenset((type(None), bool))
_ATOMS = _CONSTANTS | {str, int}


class Reader:
    """Turns nodes of a document into values; each buffer is used by exactly one of them.

    Args:
        buffers: The buffers that the document refers to.
        writable: Whether arrays may lie in the memory of the buffers; if not, each is copied once.
    """

    __slots__ = ("buffers", "depth", "unused", "writable")

    def __init__(self, buffers: list[memoryview], writable: bool) -> None:
        self.buffers = buffers
        self.unused = set(range(len(buffers)))
        self.writable = writable
        self.depth = 0

    def value(self, node: Node) -> Any:
        """Return the value of a node; the node itself, which is of use no more, if it is that."""
        kind = type(node)
        if kind is list:
            return self.values(node)
        if kind is not dict:
            return node
        if len(node) == 1:
            [(tag, argument)] = node.items()
            if tag.startswith("$"):
                return find_decoder(tag)(argument, self)
        if self.depth < MAX_DEPTH and _NESTED.isdisjoint(map(type, node.values())):
            return node
        return dict(zip(node, self.values([*node.values()]), strict=True))

    def values(self, nodes: list[Node]) -> list[Any]:
        """Return the values of some nodes."""
        if self.depth >= MAX_DEPTH:
            raise FormatError(f"nested deeper than {MAX_DEPTH} levels")
        if _NESTED.isdisjoint(map(type, nodes)):
            return nodes
        self.depth += 1
        value = self.value
        found = [value(node) if type(node) in _NESTED else node for node in nodes]
        self.depth -= 1
        return found

    def part(self, node: Node) -> Any:
        """Return the value of one part of a container."""
        return self.values([node])[0]

    def buffer(self, number: Node) -> memoryview:
        """Return a buffer as it lies in the stored bytes; what refers to it must copy."""
        if type(number) is not int or number not in self.unused:
            raise FormatError(f"there is no buffer {number!r}, or two values share it")
        self.unused.remove(number)
        return self.buffers[number]

    def memory(self, number: Node) -> Memory:
        """Return a buffer as memory that may be written to."""
        stored = self.buffer(number)
        if self.writable:
            return stored
        return np.frombuffer(stored, np.uint8).copy()


_NESTED = frozenset((list, dict))


def expect(value: Node, kind: type) -> Any:
    """Return an argument of a tag if it is of the exact type, else raise `FormatError`."""
    if type(value) is not kind:
        raise FormatError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def unpack(argument: Node, *kinds: type | None) -> Iterator[Any]:
    """Yield the items of a list of fixed length and types; None stands for any type."""
    items = expect(argument, list)
    if len(items) != len(kinds):
        raise FormatError(f"{len(kinds)} items expected, {len(items)} found")
    for item, kind in zip(items, kinds, strict=True):
        yield item if kind is None else expect(item, kind)


def find_decoder(tag: str) -> Decoder:
    """Return the decoder of a tag, importing its module if need be."""
    decode = DECODERS.get(tag)
    if decode is None and tag[:4] in _LAZY_TAGS:
        importlib.import_module(_LAZY_TAGS[tag[:4]])
        decode = DECODERS.get(tag)
    if decode is None:
        raise FormatError(f"tag {tag[:40]!r} is unknown")
    return decode


def find_encoder(value: Any) -> Encoder:
    """Return the encoder of a type that is not in the table yet, importing its module if need be.

    Raises:
        RefusalError: There is none.
    """
    kind = type(value)
    library = _LAZY.get(kind.__module__.partition(".")[0])
    if library is not None:
        importlib.import_module(library)
    encode = ENCODERS.get(kind)
    if encode is None:
        raise RefusalError(value, hint(kind))
    return encode


_HINTS = {
    "collections.OrderedDict": "store dict(...) of it, which keeps the order too",
    "collections.defaultdict": "store dict(...) of it",
    "collections.Counter": "store dict(...) of it",
    "collections.deque": "store list(...) of it",
    "builtins.bytearray": "store bytes(...) of it",
    "builtins.memoryview": "store bytes(...) of it",
    "builtins.range": "store list(...) of it",
    "builtins.generator": "store list(...) of it",
    "builtins.function": "store its name, as text",
    "builtins.type": "store its name, as text",
    "builtins.module": "store its name, as text",
    "numpy.matrix": "store numpy.asarray(...) of it",
    "numpy.memmap": "store numpy.array(...) of it",
    "numpy.rec.recarray": "store numpy.array(x.tolist(), dtype=x.dtype.descr)",
    "numpy.recarray": "store numpy.array(x.tolist(), dtype=x.dtype.descr)",
    "numpy.record": "store x.item(), which is a tuple",
    "numpy.ma.MaskedArray": "store its .data and its .mask, as two arrays",
    "numpy.ma.core.MaskedArray": "store its .data and its .mask, as two arrays",
    "pandas.arrays.SparseArray": "store numpy.asarray(...) of it",
    "torch.Tensor": "store .detach().cpu().numpy() of it",
    "polars.dataframe.frame.DataFrame": "store .to_pandas() of it",
    "polars.series.series.Series": "store .to_pandas() of it",
    "pyarrow.lib.Table": "store .to_pandas() of it",
}


def hint(kind: type) -> str:
    """Return what to store in place of a value of an unsupported type."""
    if known := _HINTS.get(f"{kind.__module__}.{kind.__qualname__}"):
        return known
    for base in kind.__mro__[1:]:
        if known := _HINTS.get(f"{base.__module__}.{base.__qualname__}"):
            return known
        if base in ENCODERS:
            return f"its class would be lost; store the plain {base.__name__} that it holds"
    return "store what it holds as numbers, text, lists, dicts, arrays or frames"
