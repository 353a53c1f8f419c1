"""Canonical forms of params: text that is equal for equal values, on any machine.

Ids are made of them, and ids are stored: the form of a value never changes.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import sys
import types
import uuid
from collections.abc import Callable, Iterable, Mapping
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
        self._known: dict[int, tuple[Any, Any]] = {}

    def text(self, value: Any) -> str:
        """Return the canonical form as text.

        Raises:
            TypeError: It has none.
        """
        try:
            return _dumped(self._form(value))
        except RecursionError:
            raise TypeError("it contains itself, or is nested too deeply") from None

    def _form(self, value: Any) -> Any:
        if isinstance(value, np.generic):
            item = as_python(value)
            if isinstance(item, np.generic):
                return [type(value).__name__, str(value)]
            return self._form(item)
        if value is None or isinstance(value, (bool, int, float, str)):
            return _plain_number(value)
        if isinstance(value, _AS_TEXT):
            return {type(value).__name__: repr(value) if isinstance(value, bytes) else str(value)}
        if isinstance(value, (list, tuple)):
            return [self._form(item) for item in value]
        if isinstance(value, (set, frozenset)):
            return {"set": sorted(_dumped(self._form(item)) for item in value)}
        if isinstance(value, Mapping):
            pairs = ([_dumped(self._form(key)), self._form(item)] for key, item in value.items())
            return {"dict": sorted(pairs, key=lambda pair: pair[0])}
        return self._once(value)

    def _once(self, value: Any) -> Any:
        if id(value) not in self._known:
            self._known[id(value)] = value, self._other(value)
        return self._known[id(value)][1]

    def _other(self, value: Any) -> Any:
        try:
            return {"ref": self._reference(value)}
        except TypeError:
            pass
        if isinstance(value, types.FunctionType):
            return {"$function": self._function(value)}
        if isinstance(value, type):
            return {"$class": self._class(value)}
        tag, parts = known_parts(value) or self._exact(value) or take_apart(value)
        return {f"${tag}": [self._form(part) for part in parts]}

    def _reference(self, value: Any) -> Any:
        if isinstance(value, functools.partial):
            arguments = [self._form(item) for item in value.args]
            return [self._reference(value.func), arguments, self._form(value.keywords)]
        return reference(value)

    def _exact(self, value: Any) -> tuple[str, list[Any]] | None:
        """Describe a frame, series or index by its bytes; other codecs that come change no id."""
        if self._buffers is None or type(value).__module__.partition(".")[0] != "pandas":
            return None
        try:
            return "exact", [type(value).__name__, digest(self._buffers(value))]
        except TypeError:
            return None

    def _function(self, function: types.FunctionType) -> list[Any]:
        cells = [_content(cell) for cell in function.__closure__ or ()]
        taken = [function.__defaults__, function.__kwdefaults__, cells]
        return [code_digest(function.__code__), *(self._form(part) for part in taken)]

    def _class(self, kind: type) -> list[Any]:
        """Describe a class that cannot be imported, such as one that a function has defined."""
        own = {name: item for name, item in vars(kind).items() if name not in _BOOKKEEPING}
        values = {name: self._attribute(item) for name, item in own.items()}
        bases = [self._form(base) for base in kind.__bases__]
        return [f"{kind.__module__}.{kind.__qualname__}", bases, sorted(values.items())]

    def _attribute(self, value: Any) -> Any:
        function = getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType):
            return {"$function": [code_digest(function.__code__)]}
        try:
            return self._form(value)
        except TypeError:
            return {"$attribute": type(value).__name__}


_BOOKKEEPING = frozenset(
    ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__firstlineno__")
)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


_dumped = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def as_python(value: np.generic) -> Any:
    """Return NumPy's scalar as Python's; its `item` drops NULs at the end of texts and bytes."""
    if isinstance(value, np.str_):
        return str.__str__(value)
    return bytes(value) if isinstance(value, np.bytes_) else value.item()


def _plain_number(value: Any) -> Any:
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None


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
