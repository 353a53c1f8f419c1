"""The one table of codecs: which function writes a type, which reads a tag.

A document is JSON (RFC 8259) in which an object with exactly one key, and that one starting with
``$``, is a tag: ``{"$tuple": [1, 2]}``. A dict of the user that would look like one is itself
written with the tag ``$dict``, so a tag cannot be forged. Large binary parts are not in the
document; it refers to them by their number. `Writer` and `Reader` walk through values and nodes.

The modules of foreign libraries that are slow to import register their codecs when the first of
their values or tags is met.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeAlias

from mltraq_prefect.codecs.hints import hint
from mltraq_prefect.codecs.installed import import_installed

Node: TypeAlias = Any
Buffer: TypeAlias = bytes | memoryview
Encoder: TypeAlias = Callable[[Any, Any], Node]
Decoder: TypeAlias = Callable[[Any, Any], Any]

MAX_DEPTH = 100
NESTED = frozenset((list, dict))

ENCODERS: dict[type, Encoder] = {}
DECODERS: dict[str, Decoder] = {}
MANY_ENCODERS: dict[type, Encoder] = {}
MANY_DECODERS: dict[str, Decoder] = {}

_LAZY = {"pandas": "pandas_frames", "$pd": "pandas_frames"}
"""Modules of codecs by the package of a type, and by the first part of a tag."""


class FormatError(Exception):
    """A document that no value has; becomes `CorruptData` where the format is known to be ours."""


class AbsentError(FormatError):
    """A value of a type that is not to be had here, as in an earlier version of a library.

    It becomes `UnavailableType`.
    """

    def __init__(self, what: str, library: str, installed: str, needed: str) -> None:
        super().__init__(
            f"{what} needs {library}{needed}, and {library} {installed} is installed here; run: "
            f'python -m pip install "{library}{needed}"'
        )


class UnregisteredError(AbsentError):
    """A value of a user's codec that this program has not registered."""

    def __init__(self, name: str, trouble: str) -> None:
        FormatError.__init__(
            self,
            f"it was written by the codec {name[:40]!r}, which is not registered in this program; "
            "import the module that calls mltraq_prefect.register_codec for it, or install a "
            f"package that names it among its entry points{trouble}",
        )


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


def register_many(kind: type, tag: str | None, encode: Encoder, decode: Decoder | None) -> None:
    """Enter functions that read and write many values of one type at once, after `register`.

    Args:
        kind: Exact type of the values.
        tag: Tag of all the arguments that `decode` takes.
        encode: Maps a list of different objects to their nodes; itself if they are their nodes.
        decode: Maps a list of arguments to their values.
    """
    MANY_ENCODERS[kind] = encode
    if tag is not None and decode is not None:
        MANY_DECODERS[tag] = decode


def expect(value: Node, kind: type) -> Any:
    """Return an argument of a tag if it is of the exact type, else raise `FormatError`."""
    if type(value) is not kind:
        raise FormatError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value


def unpack(argument: Node, *kinds: type | None) -> list[Any]:
    """Return a list of fixed length and exact types; None stands for any type."""
    items: list[Any] = expect(argument, list)
    if len(items) != len(kinds):
        raise FormatError(f"{len(kinds)} items expected, {len(items)} found")
    for item, kind in zip(items, kinds, strict=True):
        if kind is not None and type(item) is not kind:
            expect(item, kind)
    return items


def find_decoder(tag: str) -> Decoder:
    """Return the decoder of a tag, importing its module if need be."""
    decode = DECODERS.get(tag)
    if decode is None:
        _import_codecs(tag)
        decode = DECODERS.get(tag)
    if decode is None:
        raise FormatError(f"tag {tag[:40]!r} is unknown")
    return decode


def find_encoder(value: Any) -> Encoder:
    """Return the encoder of a type that is not in the table yet, importing its module if need be.

    Raises:
        RefusalError: There is none.
    """
    kind, trouble = type(value), ""
    import_codecs_of(kind)
    if kind not in ENCODERS:
        trouble = import_installed()
    encode = ENCODERS.get(kind)
    if encode is None:
        raise RefusalError(value, hint(kind, ENCODERS) + trouble)
    return encode


def import_codecs_of(kind: type) -> None:
    """Import the codecs of the library that a type comes from, if they wait for it."""
    for base in kind.__mro__:
        _import_codecs(base.__module__)


def _import_codecs(name: str) -> None:
    """Import the codecs of a library, given by the name of a module or tag, if they wait for it."""
    module = _LAZY.get(name.partition(".")[0])
    if module is not None:
        importlib.import_module(f"mltraq_prefect.codecs.{module}")
