"""What an object holds: noted, compared by identity without calling code of anybody, put back."""

from __future__ import annotations

import collections
import copyreg
import functools
import pickle
import types
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from operator import is_
from typing import Any, Protocol

import numpy as np

from mltraq_prefect.execution.copies import SHARED_BYTES, is_unchangeable
from mltraq_prefect.execution.fingerprints.modules import owner, owner_of
from mltraq_prefect.model.pickling import unpickled

Read = Callable[[], list[Any]]
Write = Callable[[list[Any]], None]

_ABSENT = object()

_CONSTANT = (
    types.BuiltinFunctionType,
    types.ModuleType,
    types.CodeType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


class Content(Protocol):
    """What an object holds, as it was when this was made."""

    def has_changed(self) -> bool:
        """Return whether it holds something else now."""

    def restore(self) -> None:
        """Put it back."""


class Items:
    """References that an object holds.

    Args:
        read: Returns them, always in the same order.
        write: Sets them.
    """

    __slots__ = ("_read", "_saved", "_write")

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write
        self._saved = read()

    def has_changed(self) -> bool:
        """Return whether one was set to something else, or one came or went."""
        now = self._read()
        if len(now) != len(self._saved):
            return True
        return not all(map(is_, now, self._saved)) and not all(map(_is_same, now, self._saved))

    def restore(self) -> None:
        """Set them again."""
        self._write(self._saved)


class ArrayContent:
    """The numbers of an array.

    Args:
        array: It.
    """

    __slots__ = ("_array", "_saved")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        self._saved = array.copy()

    def has_changed(self) -> bool:
        """Return whether a byte has changed."""
        return self._array.tobytes() != self._saved.tobytes()

    def restore(self) -> None:
        """Set the numbers again."""
        np.copyto(self._array, self._saved)


class ForeignContent:
    """An object of a library, by its pickle.

    Args:
        value: It.

    Raises:
        Exception: It cannot be pickled, or its pickle is large.
    """

    __slots__ = ("_pickle", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._pickle = _pickled(value)

    def has_changed(self) -> bool:
        """Return whether its pickle is another one."""
        try:
            return _pickled(self._value) != self._pickle
        except Exception:
            return True

    def restore(self) -> None:
        """Give it the attributes of a copy."""
        copy = unpickled(self._pickle)
        self._value.__dict__.clear()
        self._value.__dict__.update(copy.__dict__)


class _Limited:
    """A file that refuses to become large."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._left = SHARED_BYTES

    def write(self, data: Any) -> None:
        part = bytes(data)
        self._left -= len(part)
        if self._left < 0:
            raise OverflowError("the pickle is large")
        self.parts.append(part)


def _pickled(value: Any) -> bytes:
    file = _Limited()
    pickle.Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return b"".join(file.parts)


def is_constant(value: Any) -> bool:
    """Return whether nothing in a value can be changed."""
    return isinstance(value, _CONSTANT) or is_unchangeable({"": value})


def _is_same(now: Any, before: Any) -> bool:
    if now is before:
        return True
    return type(now) is type(before) and is_unchangeable({"": now}) and bool(now == before)


def globals_content(namespace: dict[str, Any], name: str) -> Content:
    """Return what a global name stands for, which may be nothing yet."""

    def read() -> list[Any]:
        return [namespace.get(name, _ABSENT)]

    def write(saved: list[Any]) -> None:
        if saved[0] is _ABSENT:
            namespace.pop(name, None)
        else:
            namespace[name] = saved[0]

    return Items(read, write)


def contents_of(value: Any) -> tuple[list[Content], Iterable[Any]]:
    """Return what an object holds that can be changed, and the objects to look into next."""
    kind = type(value)
    take = next((take for base, take in _KINDS if issubclass(kind, base)), None)
    contents, further = ([], []) if take is None else take(value)
    whose = "python" if issubclass(kind, type) else owner_of(kind)
    if whose == "user":
        held, attributes = _object(value)
        return [*contents, *held], [*further, *attributes, kind]
    if whose == "installed" and take is None and isinstance(getattr(value, "__dict__", None), dict):
        with suppress(Exception):  # what holds a lock or a connection is no input of a computation
            contents.append(ForeignContent(value))
    return contents, further


def _array(value: np.ndarray[Any, Any]) -> tuple[list[Content], list[Any]]:
    """A large array is not compared but made read-only."""
    if value.dtype.hasobject or not value.flags.writeable:
        return [], []
    if value.nbytes < SHARED_BYTES:
        return [ArrayContent(value)], []
    value.flags.writeable = False
    return [], []


def _dict(value: dict[Any, Any]) -> tuple[list[Content], list[Any]]:
    base: Any = collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict

    def read() -> list[Any]:
        return [*base.keys(value), *base.values(value)]

    def write(saved: list[Any]) -> None:
        base.clear(value)
        half = len(saved) // 2
        for key, item in zip(saved[:half], saved[half:], strict=True):
            base.__setitem__(value, key, item)

    return [Items(read, write)], read()


def _list(value: list[Any]) -> tuple[list[Content], list[Any]]:
    read = functools.partial(list.copy, value)
    write = functools.partial(list.__setitem__, value, slice(None))
    return [Items(read, write)], read()


def _set(value: set[Any]) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        set.clear(value)
        set.update(value, saved)

    return [Items(lambda: [*set.__iter__(value)], write)], []


def _deque(value: collections.deque[Any]) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        value.clear()
        value.extend(saved)

    return [Items(lambda: [*value], write)], [*value]


def _bytes(value: bytearray) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        value[:] = saved[0]

    return [Items(lambda: [bytes(value)], write)], []


def _function(value: types.FunctionType) -> tuple[list[Content], list[Any]]:
    """A function has attributes; one of the user's, defaults and what it has captured, too."""
    wrapped = getattr(value, "__wrapped__", None)
    further = [] if wrapped is None else [wrapped]
    if owner(value.__globals__) != "user":
        return [], further
    contents, attributes = _dict(value.__dict__)
    further += [*attributes, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    if cells := value.__closure__:
        contents.append(Items(functools.partial(_read_cells, cells), _writer_of(cells)))
        further += _read_cells(cells)
    return contents, further


def _read_cells(cells: Sequence[types.CellType]) -> list[Any]:
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not set yet
            found.append(_ABSENT)
    return found


def _writer_of(cells: Sequence[types.CellType]) -> Write:
    def write(saved: list[Any]) -> None:
        for cell, item in zip(cells, saved, strict=True):
            if item is not _ABSENT:
                cell.cell_contents = item
            else:
                with suppress(ValueError):
                    del cell.cell_contents

    return write


def _class(value: type) -> tuple[list[Content], list[Any]]:
    if owner_of(value) != "user":
        return [], []

    def read() -> list[Any]:
        found = {name: v for name, v in vars(value).items() if not _is_pythons(name)}
        return [*found, *found.values()]

    def write(saved: list[Any]) -> None:
        half = len(saved) // 2
        before = dict(zip(saved[:half], saved[half:], strict=True))
        for name in [*vars(value)]:
            if not _is_pythons(name) and name not in before:
                type.__delattr__(value, name)
        for name, item in before.items():
            if vars(value).get(name, _ABSENT) is not item:
                type.__setattr__(value, name, item)

    return [Items(read, write)], [*read(), *value.__bases__]


def _is_pythons(name: str) -> bool:
    return (name.startswith("__") and name.endswith("__")) or name == "_abc_impl"


def _object(value: Any) -> tuple[list[Content], list[Any]]:
    """Attributes of an object; what `functools.cached_property` has made stays."""
    contents: list[Content] = []
    further: list[Any] = []
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict):
        cached = _cached_properties(type(value))
        read = functools.partial(_read_attributes, attributes, cached)
        contents.append(Items(read, functools.partial(_write_attributes, attributes, cached)))
        further += attributes.values()
    names: list[str] = copyreg._slotnames(type(value))  # type: ignore[attr-defined]
    if names:
        slots = functools.partial(_read_slots, value, names)
        contents.append(Items(slots, functools.partial(_write_slots, value, names)))
        further += slots()
    return contents, further


def _cached_properties(kind: type) -> frozenset[str]:
    found = [vars(base) for base in kind.__mro__]
    kinds = functools.cached_property
    return frozenset(n for names in found for n, v in names.items() if isinstance(v, kinds))


def _read_attributes(attributes: dict[str, Any], cached: frozenset[str]) -> list[Any]:
    if cached:
        attributes = {name: v for name, v in attributes.items() if name not in cached}
    return [*attributes, *attributes.values()]


def _write_attributes(attributes: dict[str, Any], cached: frozenset[str], saved: list[Any]) -> None:
    kept = {name: attributes[name] for name in cached & attributes.keys()}
    half = len(saved) // 2
    attributes.clear()
    attributes.update(zip(saved[:half], saved[half:], strict=True))
    attributes.update(kept)


def _read_slots(value: Any, names: list[str]) -> list[Any]:
    return [getattr(value, name, _ABSENT) for name in names]


def _write_slots(value: Any, names: list[str], saved: list[Any]) -> None:
    for name, item in zip(names, saved, strict=True):
        if item is not _ABSENT:
            object.__setattr__(value, name, item)
        elif hasattr(value, name):
            object.__delattr__(value, name)


def _sequence(value: Iterable[Any]) -> tuple[list[Content], list[Any]]:
    return [], [*value]


def _wrapper(value: Any) -> tuple[list[Content], list[Any]]:
    names = ("__func__", "__self__", "func", "args", "keywords", "fget", "fset", "fdel")
    return [], [getattr(value, name, None) for name in names]


Take = Callable[[Any], tuple[list[Content], list[Any]]]

_KINDS: tuple[tuple[Any, Take], ...] = (
    (dict, _dict),
    (list, _list),
    (set, _set),
    (collections.deque, _deque),
    (bytearray, _bytes),
    (types.FunctionType, _function),
    (type, _class),
    (np.ndarray, _array),
    ((tuple, frozenset), _sequence),
    (types.MappingProxyType, lambda value: ([], [*value.values()])),
    (
        (types.MethodType, staticmethod, classmethod, property, functools.partial),
        _wrapper,
    ),
    (types.SimpleNamespace, _object),
)
