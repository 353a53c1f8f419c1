"""Digests of values: equal for equal values in any process, different for different ones.

The order of a dict counts: steps see it, as in ``Pipeline(list(config.items()))``. That of the
attributes of an object does not, as it depends on which of them was set first.

Values are walked without recursion, so neither depth nor cycles matter. What cannot be followed (an
open file, a lock) counts by its type alone. An object of a library counts as a whole or not at all:
what a connection or a client holds in addition to its locks is no input of a computation.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
import types
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np

from mltraq_prefect.execution.fingerprints.modules import globals_of, label, owner, owner_of
from mltraq_prefect.model.identity import Buffers, code_digest, digest, take_apart
from mltraq_prefect.model.identity.objects import known_parts

Work = Generator[Any, str, str]

MANY = 500
"""Containers of more items are encoded as a whole if they can be."""

_MANY_LAYERS = 100

_SCALARS = frozenset((type(None), bool, int, float, complex, type(...), type(NotImplemented)))
_CONTAINERS = (list, tuple, dict, set, frozenset)
_BUILTIN_CODE = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)
_MEMBERS = (types.MemberDescriptorType, types.GetSetDescriptorType)

CHOSEN = {
    id(getattr(module, name)): f"{module.__name__}.{name}"
    for module, names in (
        (importlib, ("import_module",)),
        (os, ("environ", "environb", "getenv", "getenvb")),
        (sys, ("modules",)),
    )
    for name in names
    if hasattr(module, name)  # Windows has no bytes
}
"""What gives another thing for each name that it is asked for."""

NAMED_LATER = "it is named while the step runs"


class Values:
    """Makes digests of values.

    Each object is walked once: they must not change as long as this is used.

    Args:
        buffers: Encodes values of the types that can be stored.
        meet: Gets each function, class and module that a value leads to.
        give_up: Gets what cannot be followed, and why.
    """

    def __init__(
        self,
        buffers: Buffers | None,
        meet: Callable[[Any], None],
        give_up: Callable[[Any, str], None],
    ) -> None:
        self._buffers = buffers
        self._meet = meet
        self._give_up = give_up
        self._known: dict[int, tuple[Any, str]] = {}
        self._named_so: dict[str, types.FunctionType] = {}

    def digest(self, value: Any) -> str:
        """Return text that stands for a value."""
        answer = self._at_once(value, ())
        if answer is not None:
            return answer
        walk, depths = [(value, self._work(value))], {id(value): 0}
        while walk:
            current, work = walk[-1]
            try:
                child = next(work) if answer is None else work.send(answer)
            except StopIteration as done:
                answer = str(done.value)
                self._close(walk, depths, answer)
                continue
            except Exception as error:
                foreign = (n for n, (item, _) in enumerate(walk) if _is_foreign(item))
                place = next(foreign, len(walk) - 1)
                current = walk[place][0]
                for item, _ in walk[place + 1 :]:
                    depths.pop(id(item), None)
                del walk[place + 1 :]
                self._give_up(current, str(error))
                answer = f"a {_name_of(type(current))}"
                self._close(walk, depths, answer)
                continue
            answer = self._at_once(child, depths)
            if answer is None:
                depths[id(child)] = len(walk)
                walk.append((child, self._work(child)))
        return str(answer)

    def _close(self, walk: list[tuple[Any, Work]], depths: dict[int, int], answer: str) -> None:
        value, _ = walk.pop()
        depths.pop(id(value), None)
        self._known[id(value)] = value, answer

    def _at_once(self, value: Any, depths: Any) -> str | None:
        """Return the digest of what is small, known, or contains itself."""
        kind = type(value)
        if kind in _SCALARS:
            return f"{kind.__name__} {value!r}"
        if kind is str or kind is bytes:
            data = value.encode("utf-8", "surrogatepass") if kind is str else value
            return f"{kind.__name__} {value!r}" if len(data) < 64 else combined(kind.__name__, data)
        if id(value) in depths:
            return f"again {depths[id(value)]}"
        known = self._known.get(id(value))
        return None if known is None else known[1]

    def _work(self, value: Any) -> Work:
        kind = type(value)
        if id(value) in CHOSEN:
            self._give_up(value, NAMED_LATER)
            return _constant(CHOSEN[id(value)])
        if kind in _CONTAINERS:
            return self._container(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, _Attributes):
            return self._attributes(value.held)
        if isinstance(value, types.MappingProxyType):
            return self._tagged("mappingproxy", [dict(value)])
        if isinstance(value, (type, types.ModuleType, *_BUILTIN_CODE, *_MEMBERS)):
            return self._named(value)
        if isinstance(value, logging.Logger):
            return _constant("a logger")
        parts = _parts_of_code(value)
        return self._object(value) if parts is None else self._tagged(*parts)

    def _container(self, value: Any) -> Work:
        name = type(value).__name__
        if len(value) > MANY and (found := self._encoded(value)) is not None:
            return found
        if isinstance(value, dict):
            return combined(name, *(yield from self._pairs(value)))
        items = []
        for item in value:
            items.append((yield item))
        return combined(name, *(sorted(items) if isinstance(value, (set, frozenset)) else items))

    def _pairs(self, value: dict[Any, Any]) -> Generator[Any, str, list[str]]:
        pairs = []
        for key, item in value.items():
            pairs.append(combined((yield key), (yield item)))
        return pairs

    def _attributes(self, held: dict[Any, Any]) -> Work:
        return combined("dict", *sorted((yield from self._pairs(held))))

    def _encoded(self, value: Any) -> str | None:
        if self._buffers is None:
            return None
        if type(value) is dict:
            if not {str} >= set(map(type, value)):
                return None
            value = [list(value), list(value.values())]
        try:
            return f"exact {digest(self._buffers(value))}"
        except TypeError:
            return None

    def _function(self, value: types.FunctionType) -> Work:
        """A function that a module names counts by that name, any other by what it does.

        Decorators and modules of the same name make others of that name.
        """
        self._meet(value)
        name = name_of(value)
        if "<" not in value.__qualname__ and _wraps(self._named_so.setdefault(name, value), value):
            return name
        is_users = owner(value.__globals__) == "user"
        parts = [code_digest(value.__code__) if is_users else name]
        for item in (value.__defaults__, value.__kwdefaults__, *captured(value)):
            parts.append((yield item))
        return combined("function", *parts)

    def _named(self, value: Any) -> Work:
        self._meet(value)
        bound_to = getattr(value, "__self__", None)
        if bound_to is not None and not isinstance(bound_to, (types.ModuleType, type)):
            return combined("method", name_of(value), (yield bound_to))
        return f"{type(value).__name__} {name_of(value)}"

    def _object(self, value: Any) -> Work:
        """Encode a value as it is stored, in place; take apart what cannot be stored."""
        parts = None if isinstance(value, np.ndarray) else known_parts(value)
        if parts is None and (encoded := self._encoded(value)) is not None:
            return encoded
        tag, held = parts or take_apart(value)
        if tag in _WITH_STATE:
            held = [part for whole in held for part in (whole if _is_both(whole) else (whole,))]
        apart = [_Attributes(part) if type(part) is dict else part for part in held]
        return (yield from self._tagged(tag, apart))

    def _tagged(self, tag: str, parts: Iterable[Any]) -> Work:
        found = []
        for part in parts:
            found.append((yield part))
        return combined(tag, *found)


class _Attributes:
    """What an object or a call holds by name, in no order.

    Args:
        held: Values by name.
    """

    __slots__ = ("held",)

    def __init__(self, held: dict[Any, Any]) -> None:
        self.held = held


_WITH_STATE = ("object", "made")


def _is_both(part: Any) -> bool:
    """Return whether a part is the state of an object that has slots: attributes, and those."""
    if type(part) is not tuple or len(part) != 2:
        return False
    return type(part[1]) is dict and isinstance(part[0], (dict, types.NoneType))


def _constant(text: str) -> Work:
    yield from ()
    return text


def _parts_of_code(value: Any) -> tuple[str, list[Any]] | None:
    """Return the functions that a value wraps; None if it is something else."""
    if isinstance(value, types.MethodType):
        return "method", [value.__func__, value.__self__]
    if isinstance(value, (staticmethod, classmethod)):
        return type(value).__name__, [value.__func__]
    if isinstance(value, property):
        return "property", [value.fget, value.fset, value.fdel]
    if isinstance(value, functools.cached_property):
        return "cached_property", [value.func]
    wrapped = getattr(value, "__wrapped__", None)
    if callable(value) and callable(wrapped) and owner_of(type(value)) != "user":
        return "wrapped", [type(value), wrapped]
    return None


def _wraps(one: Any, other: Any) -> bool:
    """Whether two functions are the same, or one of them is decorated to become the other."""
    return other in _layers(one) or one in _layers(other)


def _layers(function: Any) -> list[Any]:
    found = [function]
    while len(found) < _MANY_LAYERS and hasattr(found[-1], "__wrapped__"):
        found.append(found[-1].__wrapped__)
    return found


def _is_foreign(value: Any) -> bool:
    """Return whether a value is an object of a library; Python's own containers are not."""
    kind = type(value)
    return (
        kind not in _CONTAINERS
        and not isinstance(value, (type, *_CODE_CONTAINERS))
        and not _is_users(kind)
    )


_CODE_CONTAINERS = (
    types.FunctionType,
    types.MethodType,
    types.ModuleType,
    functools.partial,
    property,
)


def _is_users(kind: type) -> bool:
    return owner_of(kind) == "user"


def captured(function: types.FunctionType) -> list[Any]:
    """Return the values that a closure has captured; None for what is not set yet."""
    return [_content(cell) for cell in function.__closure__ or ()]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


def defaults_of(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the names of arguments that have defaults, and these."""
    values = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(names[len(names) - len(values) :], values, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def name_of(value: Any) -> str:
    """Return what to call a function, class or module: by its own module and its name there."""
    if isinstance(value, types.ModuleType):
        return label(vars(value))
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "?")
    if isinstance(value, types.FunctionType):
        return f"{label(value.__globals__)}.{name}"
    return _name_of(value) if isinstance(value, type) else str(name)


def _name_of(kind: type) -> str:
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{label(globals_of(kind.__module__))}.{kind.__qualname__}"


def combined(*parts: str | bytes) -> str:
    """Return a digest of several parts."""
    return digest(part.encode() if isinstance(part, str) else part for part in parts)
