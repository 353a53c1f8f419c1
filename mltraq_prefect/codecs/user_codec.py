"""Codecs that users register for types of their own.

What they make of a value is written by the other codecs, so that no reader needs to trust them more
than these: nothing is unpickled, and what is read goes through the same checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from mltraq_prefect.codecs.installed import import_installed
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    ENCODERS,
    FormatError,
    Node,
    RefusalError,
    UnregisteredError,
    import_codecs_of,
    register,
    unpack,
)
from mltraq_prefect.codecs.writer import Writer
from mltraq_prefect.errors import InvalidInput

MOST_CHARACTERS = 200

T = TypeVar("T")


class UserCodec(NamedTuple):
    """A codec of a user; `register_codec` says what its parts are."""

    kind: type
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


USER_CODECS: dict[str, UserCodec] = {}
"""By name."""


def register_codec(
    kind: type[T], name: str, encode: Callable[[T], Any], decode: Callable[[Any], T]
) -> None:
    """Let values of a type of yours be stored exactly, wherever a value can be.

    Put the call beside the definition of the type, so that each program that has the type has the
    codec. To read a value, the codec of its name has to be registered; without it, the `columns`
    of `Session.load` read other fields, and its `where` other runs. An installed package that
    names a module as an entry point of the group ``mltraq_prefect.codecs`` has it imported when a
    codec is missing, by the command line too.

    Args:
        kind: The type. Values of classes that inherit from it are not meant.
        name: What tells the codec from others in the database; it must not change.
        encode: Makes a value of supported types of one of `kind`: numbers, text, lists, dicts,
            arrays, frames, also values that other codecs encode.
        decode: Makes a value of `kind` of what `encode` has made. Whoever can write the database
            decides what it gets: it should not execute or open what that names.

    Raises:
        InvalidInput: The type has a codec already, or the name is that of another type.

    Examples:
        >>> class Circle:
        ...     def __init__(self, radius):
        ...         self.radius = radius
        >>> register_codec(Circle, "circle", lambda circle: circle.radius, Circle)
        >>> session = create_session("sqlite://")
        >>> experiment = session.add_experiment("circles").add_runs(x=[1])
        >>> experiment.runs.first().fields.circle = Circle(2.5)
        >>> _ = experiment.persist()
        >>> session.load("circles").runs.first().fields.circle.radius
        2.5
    """
    _check(kind, name, encode, decode)
    codec = UserCodec(kind, name, encode, decode)
    USER_CODECS[name] = codec
    register(kind, None, partial(_write, codec), None)


def user_codecs() -> list[UserCodec]:
    """Return the codecs that this program has registered."""
    return [*USER_CODECS.values()]


def _check(kind: object, name: object, encode: object, decode: object) -> None:
    if not isinstance(kind, type):
        raise InvalidInput(f"register_codec: kind is {kind!r}; give a class")
    if not isinstance(name, str) or not 0 < len(name) <= MOST_CHARACTERS or not name.isprintable():
        raise InvalidInput(f"register_codec: name is {name!r}; give a short text, such as 'mesh'")
    for what, function in (("encode", encode), ("decode", decode)):
        if not callable(function):
            raise InvalidInput(f"register_codec: {what} is {function!r}; give a function")
    import_codecs_of(kind)
    known = ENCODERS.get(kind)
    if known is not None and getattr(known, "func", None) is not _write:
        raise InvalidInput(
            f"register_codec: values of {_named(kind)} are stored as they are, without a codec"
        )
    taken = USER_CODECS.get(name)
    if taken is not None and _named(taken.kind) != _named(kind):  # else a cell, executed again
        raise InvalidInput(
            f"register_codec: {name!r} is the name of the codec of {_named(taken.kind)}"
        )


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _write(codec: UserCodec, value: Any, writer: Writer) -> Node:
    try:
        encoded = codec.encode(value)
    except Exception as error:
        reason = f"its codec {codec.name!r} raised {type(error).__name__}: {error}"
        raise RefusalError(value, reason) from error
    return {"$user": [codec.name, writer.child(value, encoded, f" (by codec {codec.name!r})")]}


def _read(argument: Node, reader: Reader) -> Any:
    name, node = unpack(argument, str, None)
    trouble = "" if name in USER_CODECS else import_installed()
    codec = USER_CODECS.get(name)
    if codec is None:
        raise UnregisteredError(name, trouble)
    encoded = reader.part(node)
    try:
        value = codec.decode(encoded)
    except Exception as error:  # its message may quote the value
        raise FormatError(f"its codec {name!r} raised {type(error).__name__}") from error
    if type(value) is not codec.kind:
        made = _named(type(value))
        raise FormatError(f"its codec {name!r} has made a {made}, no {_named(codec.kind)}")
    return value


register(None, "$user", None, _read)
