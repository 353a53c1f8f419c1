"""What each kind of object holds that can be changed, and where to look next."""

from __future__ import annotations

import argparse
import array
import collections
import copyreg
import enum
import functools
import pickle
import random
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from mltraq_prefect.execution.fingerprints.modules import owner, owner_of
from mltraq_prefect.execution.fingerprints.values import defaults_of
from mltraq_prefect.execution.frozen_values import SHARED_BYTES
from mltraq_prefect.execution.object_contents import (
    ArrayContent,
    Collection,
    Content,
    ForeignContent,
    Items,
    appended,
    more_members,
    new_keys,
    pairs,
)
from mltraq_prefect.model.pickling import unpickled

Part = tuple[str, list[Content], Iterable[Any]]

_ABSENT = object()


def globals_content(namespace: dict[str, Any], name: str) -> Content:
    """Return the content of a global name, which may not be set yet."""

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
    take = next((take for base, take in _CONTENTS_BY_TYPE if issubclass(kind, base)), None)
    contents, further = ([], []) if take is None else take(value)
    whose = "python" if issubclass(kind, type) else owner_of(kind)
    if whose == "user":
        held, attributes = _object(value)
        return [*contents, *held], [*further, *attributes, kind]
    if whose == "installed" and take is None and isinstance(getattr(value, "__dict__", None), dict):
        with suppress(Exception):  # what holds a lock or a connection is no input of a computation
            contents.append(ForeignContent(value))
    return contents, further


def is_large(value: Any) -> bool:
    """Return whether a value is a large array: it is made read-only instead of being compared."""
    is_array = isinstance(value, np.ndarray) and not value.dtype.hasobject
    return is_array and value.flags.writeable and value.nbytes >= SHARED_BYTES


def _array(value: np.ndarray[Any, Any]) -> tuple[list[Content], list[Any]]:
    if not value.flags.writeable or is_large(value):
        return [], []
    if not value.dtype.hasobject:
        return [ArrayContent(value)], []
    if value.dtype.fields is not None:
        return [], []

    def write(saved: list[Any]) -> None:
        for place, item in enumerate(saved):
            value.flat[place] = item

    return [Items(lambda: [*value.flat], write)], [*value.flat]


def _dict(value: dict[Any, Any]) -> tuple[list[Content], list[Any]]:
    base: Any = collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict

    def read() -> list[Any]:
        return [*base.keys(value), *base.values(value)]

    def add(items: list[Any]) -> None:
        for key, item in items:
            base.__setitem__(value, key, item)

    def write(saved: list[Any]) -> None:
        base.clear(value)
        add([*pairs(saved).items()])

    return [Collection(read, write, new_keys, add)], read()


def _list(value: list[Any]) -> tuple[list[Content], list[Any]]:
    read = functools.partial(list.copy, value)
    write = functools.partial(list.__setitem__, value, slice(None))
    add = functools.partial(list.extend, value)
    return [Collection(read, write, appended, add)], read()


def _set(value: set[Any]) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        set.clear(value)
        set.update(value, saved)

    def read() -> list[Any]:
        return [*set.__iter__(value)]

    add = functools.partial(set.update, value)
    return [Collection(read, write, more_members, add)], read()


def _deque(value: collections.deque[Any]) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        value.clear()
        value.extend(saved)

    add = functools.partial(collections.deque.extend, value)
    return [Collection(lambda: [*value], write, appended, add)], [*value]


def _bytes(value: bytearray) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        value[:] = saved[0]

    return [Items(lambda: [bytes(value)], write)], []


def _numbers(value: array.array[Any]) -> tuple[list[Content], list[Any]]:
    def write(saved: list[Any]) -> None:
        del value[:]
        value.frombytes(saved[0])

    return [Items(lambda: [value.tobytes()], write)], []


def _stream(read: Callable[[Any], Any], write: Callable[[Any, Any], Any]) -> Take:
    """A generator of random numbers, which an object of the user's may hold."""

    def take(value: Any) -> tuple[list[Content], list[Any]]:
        def set_again(saved: list[Any]) -> None:
            write(value, unpickled(saved[0]))

        with suppress(NotImplementedError):  # that of the system has no state
            return [Items(lambda: [pickle.dumps(read(value))], set_again)], []
        return [], []

    return take


def _set_bits(value: np.random.BitGenerator, state: Any) -> None:
    value.state = state


def _state_of_numpy(value: np.random.RandomState) -> Any:
    return value.get_state(legacy=False)


def parts_of_function(value: types.FunctionType) -> Iterator[Part]:
    """Yield what a function has that can be changed: of one of the user's, what it brings along.

    Each part is what `contents_of` returns, with a name for a person.
    """
    name = value.__name__
    if (wrapped := getattr(value, "__wrapped__", None)) is not None:
        yield f"what {name} wraps", [], [wrapped]
    if owner(value.__globals__) != "user":
        return
    yield f"attributes of {name}", *_attributes(value.__dict__)
    for argument, default in defaults_of(value):
        yield f"default of {argument} in {name}", [], [default]
    for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        content = Items(functools.partial(_read_cell, cell), functools.partial(_set_cell, cell))
        yield f"{variable} captured by {name}", [content], _read_cell(cell)


def _read_cell(cell: types.CellType) -> list[Any]:
    try:
        return [cell.cell_contents]
    except ValueError:  # not set yet
        return [_ABSENT]


def _set_cell(cell: types.CellType, saved: list[Any]) -> None:
    if saved[0] is not _ABSENT:
        cell.cell_contents = saved[0]
    else:
        with suppress(ValueError):
            del cell.cell_contents


def _class(value: type) -> tuple[list[Content], list[Any]]:
    if owner_of(value) != "user" or isinstance(value, enum.EnumMeta):
        return [], []  # an enumeration keeps members that are made of others

    def read() -> list[Any]:
        found = {name: v for name, v in vars(value).items() if not _is_pythons(name)}
        return [*found, *found.values()]

    def write(saved: list[Any]) -> None:
        before = pairs(saved)
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
        contents, further = _attributes(attributes, _cached_properties(type(value)))
    names: list[str] = copyreg._slotnames(type(value))  # type: ignore[attr-defined]
    if names:
        slots = functools.partial(_read_slots, value, names)
        contents.append(Items(slots, functools.partial(_write_slots, value, names)))
        further += slots()
    return contents, further


def _attributes(
    held: dict[str, Any], cached: frozenset[str] = frozenset()
) -> tuple[list[Content], list[Any]]:
    read = functools.partial(_read_attributes, held, cached)
    return [Items(read, functools.partial(_write_attributes, held, cached))], [*held.values()]


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
    attributes.clear()
    attributes.update(pairs(saved))
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
    return [], [getattr(value, name, None) for name in _WRAPPED]


_WRAPPED = ("__func__", "__self__", "func", "args", "keywords", "fget", "fset", "fdel")


Take = Callable[[Any], tuple[list[Content], list[Any]]]

_CONTENTS_BY_TYPE: tuple[tuple[Any, Take], ...] = (
    (dict, _dict),
    (list, _list),
    (set, _set),
    (collections.deque, _deque),
    (bytearray, _bytes),
    (type, _class),
    (np.ndarray, _array),
    ((tuple, frozenset), _sequence),
    (types.MappingProxyType, lambda value: ([], [*value.values()])),
    (
        (types.MethodType, staticmethod, classmethod, property, functools.partial),
        _wrapper,
    ),
    (array.array, _numbers),
    (random.Random, _stream(random.Random.getstate, random.Random.setstate)),
    (np.random.RandomState, _stream(_state_of_numpy, np.random.RandomState.set_state)),
    (np.random.BitGenerator, _stream(lambda value: value.state, _set_bits)),
    (np.random.Generator, lambda value: ([], [value.bit_generator])),
    (
        (types.SimpleNamespace, argparse.Namespace, collections.UserDict, collections.UserList),
        _object,
    ),
    (collections.ChainMap, _object),
)
