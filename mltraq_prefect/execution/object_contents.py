"""Contents of objects: saved, compared by identity without calling their code, and restored."""

from __future__ import annotations

import pickle
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any

import numpy as np

from mltraq_prefect.execution.frozen_values import SHARED_BYTES, UNCHANGEABLE
from mltraq_prefect.model.pickling import unpickled

Read = Callable[[], list[Any]]
Write = Callable[[list[Any]], None]
Added = Callable[[list[Any], list[Any]], list[Any]]

_OWN = __name__.partition(".")[0]

_CONSTANT = (
    types.BuiltinFunctionType,
    types.ModuleType,
    types.CodeType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


class Content(ABC):
    """What an object holds, as it was when this was made."""

    __slots__ = ()

    @abstractmethod
    def has_changed(self) -> bool:
        """Return whether the contents have changed."""

    @abstractmethod
    def restore(self) -> None:
        """Restore the contents."""

    def added(self) -> list[Any]:
        """Return what it holds in addition, if nothing else of it has changed."""
        return []

    def add(self, items: list[Any]) -> None:
        """Add what `added` has returned earlier."""
        raise NotImplementedError(f"nothing is ever added to {type(self).__name__}")


class Items(Content):
    """References that an object holds.

    Args:
        read: Returns the references, always in the same order.
        write: Sets them.
    """

    __slots__ = ("_read", "_saved", "_write")

    def __init__(self, read: Read, write: Write) -> None:
        self._read = read
        self._write = write
        self._saved = read()

    def has_changed(self) -> bool:
        """Return whether a reference was changed, added or removed."""
        now = self._read()
        if len(now) != len(self._saved):
            return True
        return not all(map(is_, now, self._saved)) and not all(map(is_same, now, self._saved))

    def restore(self) -> None:
        """Restore the references."""
        self._write(self._saved)


class Collection(Items):
    """References that a container holds, to which others may be added.

    Args:
        read: Returns them, always in the same order.
        write: Sets them.
        added: Gets the present and the saved references; returns what was added, if that is all.
        add: Adds that.
    """

    __slots__ = ("_add", "_added")

    def __init__(self, read: Read, write: Write, added: Added, add: Write) -> None:
        super().__init__(read, write)
        self._added = added
        self._add = add

    def added(self) -> list[Any]:
        """Return what was added, if that is the only change."""
        return self._added(self._read(), self._saved)

    def add(self, items: list[Any]) -> None:
        """Add it again."""
        self._add(items)


class ArrayContent(Content):
    """The numbers of an array.

    Args:
        array: The array.
    """

    __slots__ = ("_array", "_saved")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        self._saved = array.tobytes()

    def has_changed(self) -> bool:
        """Return whether a byte has changed."""
        return self._array.tobytes() != self._saved

    def restore(self) -> None:
        """Set the numbers again."""
        saved = np.frombuffer(self._saved, self._array.dtype)
        np.copyto(self._array, saved.reshape(self._array.shape))


class ForeignContent(Content):
    """An object of a library, by its pickle.

    Args:
        value: The object.

    Raises:
        Exception: It cannot be pickled, or its pickle is large.
    """

    __slots__ = ("_pickle", "_value")

    def __init__(self, value: Any) -> None:
        self._value = value
        self._pickle = _pickled(value)

    def has_changed(self) -> bool:
        """Return whether its pickle has changed."""
        try:
            return _pickled(self._value) != self._pickle
        except Exception:
            return True

    def restore(self) -> None:
        """Restore the attributes from the pickle."""
        copy = unpickled(self._pickle)
        self._value.__dict__.clear()
        self._value.__dict__.update(copy.__dict__)


class _Limited:
    """A file that refuses to become large."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._left = SHARED_BYTES

    def write(self, data: Any) -> None:
        self._left -= memoryview(data).nbytes
        if self._left < 0:
            raise OverflowError("the pickle is large")
        self.parts.append(bytes(data))


def _pickled(value: Any) -> bytes:
    file = _Limited()
    pickle.Pickler(file, pickle.HIGHEST_PROTOCOL, buffer_callback=_is_small).dump(value)
    return b"".join(file.parts)


def _is_small(buffer: pickle.PickleBuffer) -> bool:
    """Return whether memory may be copied into a pickle; refuse what is large, uncopied."""
    if buffer.raw().nbytes >= SHARED_BYTES:
        raise OverflowError("the pickle is large")
    return True


def is_constant(value: Any) -> bool:
    """Return whether steps change nothing in a value; this includes objects of this package."""
    kind = type(value)
    if kind in UNCHANGEABLE or isinstance(value, _CONSTANT):
        return True
    return str(kind.__module__).partition(".")[0] == _OWN


def is_same(now: Any, before: Any) -> bool:
    """Return whether two references are to the same, or to equal constants."""
    if now is before:
        return True
    return type(now) is type(before) and type(now) in UNCHANGEABLE and bool(now == before)


def appended(now: list[Any], before: list[Any]) -> list[Any]:
    """Return what was appended to a sequence: an `Added`."""
    return now[len(before) :] if all(map(is_, now, before)) else []


def new_keys(now: list[Any], before: list[Any]) -> list[Any]:
    """Return the pairs that a dict has gained, if all that it had is as it was: an `Added`.

    Args:
        now: All keys, then all values.
        before: The same, as it was.
    """
    items, old = pairs(now), pairs(before)
    if any(key not in items or not is_same(items[key], value) for key, value in old.items()):
        return []
    return [(key, value) for key, value in items.items() if key not in old]


def more_members(now: list[Any], before: list[Any]) -> list[Any]:
    """Return what a set has gained, if it has lost nothing: an `Added`."""
    old = set(before)
    return [item for item in now if item not in old] if old <= set(now) else []


def pairs(found: Iterable[Any]) -> dict[Any, Any]:
    """Return a dict of a list of all its keys and then all its values."""
    both = [*found]
    half = len(both) // 2
    return dict(zip(both[:half], both[half:], strict=True))
