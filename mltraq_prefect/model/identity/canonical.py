"""Canonical forms of params: text that is equal for equal values, on any machine.

Ids are made of them, and ids are stored: the form of a value never changes.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
import sys
import types
import uuid
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import xxhash

from mltraq_prefect.model.identity.bytecode import code_digest
from mltraq_prefect.model.identity.objects import known_parts, take_apart

Buffers = Callable[[Any], Iterable[Any]]
"""Returns bytes-like objects that are equal for equal values of a type that can be stored, and
raises TypeError for any other value."""

_AS_TEXT = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    uuid.UUID,
    complex,
    bytes,
)


def canonical(value: Any, buffers: Buffers | None = None) -> str:
    """Return text that is equal for equal values in any process and on any machine.

    NumPy scalars count as the Python values they hold; functions and classes by their import path,
    or by their code if they have none; a `functools.partial` by its parts; arrays, frames and
    series by their exact value; any other object by its class and what it holds.

    Args:
        value: The value.
        buffers: Encodes values of the types that can be stored.

    Raises:
        TypeError: The value has no canonical form (an open file, a lock, a generator).
    """
    return Canonical(buffers).text(value)


def digest(parts: Iterable[Any]) -> str:
    """Return 128 bits in hexadecimal digits of bytes-like objects, none of which is copied."""
    state = xxhash.xxh3_128()
    for part in parts:
        state.update(f"{memoryview(part).nbytes}:".encode())
        state.update(part)
    return state.hexdigest()


class Canonical:
    """Makes canonical forms; the form of each object without a plain one is made once.

    Objects are known by where they are in memory: they must not change as long as this is used.

    Args:
        buffers: Encodes values of the types that can be stored.
    """

    def __init__(self, buffers: Buffers | None = None) -> None:
        self._buffers = buffers
        self._known: dict[int, tuple[Any, str]] = {}

    def text(self, value: Any) -> str:
        """Return the canonical form: JSON without blanks.

        Raises:
            TypeError: It has none.
        """
        try:
            return self._text(value)
        except RecursionError:
            raise TypeError("it contains itself, or is nested too deeply") from None

    def _text(self, value: Any) -> str:
        """Join texts, and not a tree of lists that is written as text: most params are numbers."""
        plain = _PLAIN.get(type(value))
        if plain is not None:
            return plain(value)
        if isinstance(value, np.generic):
            return self._numpy(value)
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                return _PLAIN[kind](kind(value))
        if isinstance(value, _AS_TEXT):
            shown = repr(value) if isinstance(value, bytes) else str(value)
            return _dumped({type(value).__name__: shown})
        if isinstance(value, (list, tuple)):
            return _list(map(self._text, value))
        if isinstance(value, (set, frozenset)):
            return _tagged("set", _list(map(_quoted, sorted(map(self._text, value)))))
        if isinstance(value, Mapping):
            return self._mapping(value)
        return self._once(value)

    def _numpy(self, value: np.generic) -> str:
        item = as_python(value)
        if isinstance(item, np.generic):
            return _dumped([type(value).__name__, str(value)])
        if isinstance(value, (np.datetime64, np.timedelta64)) and type(item) in _NO_TIMES:
            return _time(value)
        return self._text(item)

    def _mapping(self, value: Mapping[Any, Any]) -> str:
        text = self._text
        pairs = [(text(key), text(item)) for key, item in value.items()]
        pairs.sort(key=itemgetter(0))
        return _tagged("dict", _list([f"[{_quoted(key)},{item}]" for key, item in pairs]))

    def _once(self, value: Any) -> str:
        if id(value) not in self._known:
            self._known[id(value)] = value, self._other(value)
        return self._known[id(value)][1]

    def _other(self, value: Any) -> str:
        try:
            return _tagged("ref", self._reference(value))
        except TypeError:
            pass
        if isinstance(value, types.FunctionType):
            return _tagged("$function", self._function(value))
        if isinstance(value, type):
            return _tagged("$class", self._class(value))
        tag, parts = known_parts(value) or self._exact(value) or take_apart(value)
        return _tagged(f"${tag}", self._text(parts))

    def _reference(self, value: Any) -> str:
        if isinstance(value, functools.partial):
            given = self._text(value.args), self._text(value.keywords)
            return _list([self._reference(value.func), *given])
        return _quoted(reference(value))

    def _exact(self, value: Any) -> tuple[str, list[Any]] | None:
        """Describe a frame, series or index by its bytes; other codecs that come change no id."""
        if self._buffers is None or type(value).__module__.partition(".")[0] != "pandas":
            return None
        try:
            return "exact", [type(value).__name__, digest(self._buffers(value))]
        except TypeError:
            return None

    def _function(self, function: types.FunctionType) -> str:
        cells = [_content(cell) for cell in function.__closure__ or ()]
        taken = [function.__defaults__, function.__kwdefaults__, cells]
        return self._text([code_digest(function.__code__), *taken])

    def _class(self, kind: type) -> str:
        """Describe a class that cannot be imported, such as one that a function has defined."""
        own = {name: item for name, item in vars(kind).items() if name not in _BOOKKEEPING}
        items = sorted((name, self._attribute(item)) for name, item in own.items())
        values = _list([f"[{_quoted(name)},{item}]" for name, item in items])
        name = _quoted(f"{kind.__module__}.{kind.__qualname__}")
        return _list([name, self._text(kind.__bases__), values])

    def _attribute(self, value: Any) -> str:
        function = getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType):
            return _dumped({"$function": [code_digest(function.__code__)]})
        try:
            return self._text(value)
        except TypeError:
            return _dumped({"$attribute": type(value).__name__})


_BOOKKEEPING = frozenset(
    ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__firstlineno__")
)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


_dumped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring_ascii


def _list(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"


def _tagged(tag: str, text: str) -> str:
    return f"{{{_quoted(tag)}:{text}}}"


def _float(value: float) -> str:
    return repr(value) if math.isfinite(value) else _dumped(value)


_PLAIN: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    bool: {True: "true", False: "false"}.__getitem__,
    int: int.__repr__,
    float: _float,
    str: _quoted,
}
"""JSON of the values that are most common."""


_NO_TIMES = (int, type(None))
"""What NumPy gives for times that Python has no type for."""


def _time(value: np.datetime64 | np.timedelta64) -> str:
    """Tell it from its count, and from None: a year and a month are both 1."""
    if value.dtype == "M8[ns]" and not np.isnat(value):
        return str(int(value.view(np.int64)))  # as it always was
    kind = type(value).__name__
    if np.isnat(value):
        return _dumped([kind, "NaT"])
    return _dumped([kind, int(value.view(np.int64)), *np.datetime_data(value.dtype)])


def as_python(value: np.generic) -> Any:
    """Return NumPy's scalar as Python's; its `item` drops NULs at the end of texts and bytes."""
    if isinstance(value, np.str_):
        return str.__str__(value)
    if isinstance(value, np.bytes_):
        return bytes(value)
    try:
        return value.item()
    except OverflowError:  # NumPy 2.5 refuses times for which earlier ones have their count
        return int(value.view(np.int64))


def reference(value: Any) -> str:
    """Return the import path of a function or class.

    Raises:
        TypeError: The value cannot be imported by name.
    """
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None)
    if module is None or name is None or "<" in name:
        raise TypeError(f"a {type(value).__name__} cannot be imported by name")
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not value:
        raise TypeError(f"{module}.{name} cannot be imported by name")
    return f"{module}.{name}"
