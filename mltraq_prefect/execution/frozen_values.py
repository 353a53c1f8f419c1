"""Frozen values, and copies of them that share nothing mutable.

Frozen values are a pickle, or a dict of immutable values. Each attempt at a run gets new objects
that are thawed from them. Buffers of at least `SHARED_BYTES` are not copied: all attempts share
the memory, which is read-only.
"""

from __future__ import annotations

import datetime
import decimal
import io
import pickle
import types
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import PosixPath, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.execution import by_value
from mltraq_prefect.model.pickling import unpickled

Values = dict[str, Any]

SHARED_BYTES = 1 << 20
"""Arrays in kwargs of at least this size are shared by all runs, and read-only."""

UNCHANGEABLE = frozenset(
    (
        *(type(None), bool, int, float, complex, str, bytes, range),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal),
        *(uuid.UUID, PurePosixPath, PosixPath),
        *(np.bool_, np.str_, np.bytes_, np.datetime64, np.timedelta64),
        *(np.dtype(code).type for code in "bhilqBHILQefdgFDG"),
    )
)

_CODE_TYPES = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
)
"""Code is not copied within a process: steps are not expected to change it."""


def is_unchangeable(values: Values) -> bool:
    """Return whether no value of a dict can be changed in place."""
    return UNCHANGEABLE.issuperset(map(type, dict.values(values)))


class Pickled(NamedTuple):
    """Pickled values.

    Attributes:
        data: The pickle.
        buffers: Read-only memory that the pickle refers to.
        code: Functions, classes and modules that the pickle refers to, within one process.
    """

    data: bytes
    buffers: Sequence[Any] = ()
    code: Sequence[Any] = ()

    def copy(self) -> Values:
        """Return new values."""
        values: Values = unpickled(self.data, buffers=self.buffers, references=self.code)
        return values


class LocalValues:
    """Values that stay in this process; values that cannot be pickled are shared, not copied.

    They are pickled when the first copy is made; until then their owner may change them.

    Args:
        values: The values.
        shares_buffers: Whether copies share large buffers.
    """

    __slots__ = ("_pickled", "_shares_buffers", "_uncopied", "_values")

    def __init__(self, values: Values, *, shares_buffers: bool = False) -> None:
        self._values = values
        self._shares_buffers = shares_buffers
        self._pickled: Pickled | None = None
        self._uncopied: Values = {}

    def freeze(self) -> LocalValues:
        """Pickle the values now: later changes are not seen in copies."""
        self._first_copy()
        return self

    def copy(self) -> Values:
        """Return new values."""
        if self._pickled is None:
            return self._first_copy()
        return self._completed(self._pickled.copy())

    def _first_copy(self) -> Values:
        try:
            self._pickled = _pickle_local(self._values, self._shares_buffers)
            return self._pickled.copy()
        except Exception:
            self._uncopied = {key: v for key, v in self._values.items() if not _is_copyable(v)}
            copied = {key: v for key, v in self._values.items() if key not in self._uncopied}
            self._pickled = _pickle_local(copied, self._shares_buffers)
            return self._completed(self._pickled.copy())

    def _completed(self, copied: Values) -> Values:
        if not self._uncopied:
            return copied
        return {key: copied.get(key, self._uncopied.get(key)) for key in self._values}

    def code(self) -> Sequence[Any]:
        """Return the functions, classes and modules that the values refer to; copies do as well."""
        if self._pickled is None:
            self._first_copy()
        return () if self._pickled is None else self._pickled.code

    def consume(self) -> Values:
        """Return the values themselves if no copy of them was made, else a copy."""
        return self._values if self._pickled is None else self.copy()


FrozenValues = Values | Pickled | LocalValues
"""Values of which each attempt gets a copy; a dict has only immutable values."""


def thaw(values: FrozenValues) -> Values:
    """Return new values that nobody else refers to."""
    return dict(values) if type(values) is dict else values.copy()


def consume_values(values: FrozenValues) -> Values:
    """Return values, without a copy if possible; the frozen values are not used again."""
    return values.consume() if isinstance(values, LocalValues) else thaw(values)


def freeze(values: Mapping[str, Any]) -> FrozenValues:
    """Freeze values that stay in this process."""
    plain = dict(values)
    return plain if is_unchangeable(plain) else LocalValues(plain)


def freeze_pickled(values: Mapping[str, Any]) -> FrozenValues:
    """Freeze values so that they can be sent to another process.

    Raises:
        Exception: A value cannot be pickled, and raised this.
    """
    plain = dict(values)
    if is_unchangeable(plain):
        return plain
    try:
        data = pickle.dumps(plain, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        return Pickled(dumps(plain))
    # Plain pickle is much faster, but refers to functions and classes by name.
    return Pickled(dumps(plain) if by_value.is_needed(data) else data)


def dumps(value: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Pickle a value; code of ``__main__`` and notebooks is pickled by value.

    Args:
        value: The value.
        buffers: Large buffers are appended to it, and left out of the pickle; None keeps them.
    """
    callback = None if buffers is None else _leaving_out(buffers)
    return by_value.dumps(value, callback)


def _leaving_out(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    def keeps(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < SHARED_BYTES:
            return True
        buffers.append(buffer)
        return False

    return keeps


class _LocalPickler(pickle.Pickler):
    """Pickles within a process: functions, classes and modules are referred to, not copied."""

    def __init__(self, file: io.BytesIO, code: list[Any], callback: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL, buffer_callback=callback)
        self._code = code

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, _CODE_TYPES):
            return None
        self._code.append(value)
        return len(self._code) - 1


def _pickle_local(values: Values, shares_buffers: bool) -> Pickled:
    file, code, buffers = io.BytesIO(), list[Any](), list[pickle.PickleBuffer]()
    _LocalPickler(file, code, _leaving_out(buffers) if shares_buffers else None).dump(values)
    return Pickled(file.getvalue(), [buffer.raw().toreadonly() for buffer in buffers], code)


def _is_copyable(value: Any) -> bool:
    try:
        _pickle_local({"": value}, shares_buffers=True).copy()
    except Exception:
        return False
    return True
