"""Copies of values that share nothing which can be changed.

Values at rest are pickles, or a dict of which nothing can be changed. Each attempt at a run gets
new objects made of them. Buffers from `SHARED_BYTES` on are not copied for it: all attempts see
the same memory, and it is read-only.
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
"""Arrays of kwargs from this size on are shared by all runs, and read-only."""

UNCHANGEABLE = frozenset(
    (
        *(type(None), bool, int, float, complex, str, bytes, range),
        *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal),
        *(uuid.UUID, PurePosixPath, PosixPath),
        *(np.bool_, np.str_, np.bytes_, np.datetime64, np.timedelta64),
        *(np.dtype(code).type for code in "bhilqBHILQefdgFDG"),
    )
)

_CODE = (
    type,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
)
"""Within a process it is the same for all: nobody takes a change of it for one of a value."""


def is_unchangeable(values: Values) -> bool:
    """Return whether no value of a dict can be changed in place."""
    return UNCHANGEABLE.issuperset(map(type, dict.values(values)))


class Pickled(NamedTuple):
    """Pickled values.

    Attributes:
        data: Their pickle.
        buffers: Large memory that the pickle refers to; read-only.
        code: Functions, classes and modules that the pickle refers to, within one process.
    """

    data: bytes
    buffers: Sequence[Any] = ()
    code: Sequence[Any] = ()

    def copy(self) -> Values:
        """Return new values."""
        values: Values = unpickled(self.data, buffers=self.buffers, references=self.code)
        return values


class Held:
    """Values that stay in this process; those that cannot be copied are shared as they are.

    Args:
        values: What somebody holds, and may change while nothing is copied.
        shares: Whether large memory is shared.
    """

    __slots__ = ("_pickled", "_shares", "_uncopied", "_values")

    def __init__(self, values: Values, *, shares: bool = False) -> None:
        self._values = values
        self._shares = shares
        self._pickled: Pickled | None = None
        self._uncopied: Values = {}

    def keep(self) -> Held:
        """Take the values as they are now: later changes of them are not seen in copies."""
        self._first_copy()
        return self

    def copy(self) -> Values:
        """Return new values."""
        if self._pickled is None:
            return self._first_copy()
        return self._completed(self._pickled.copy())

    def _first_copy(self) -> Values:
        try:
            self._pickled = _held(self._values, self._shares)
            return self._pickled.copy()
        except Exception:
            self._uncopied = {key: v for key, v in self._values.items() if not _can_be_held(v)}
            copied = {key: v for key, v in self._values.items() if key not in self._uncopied}
            self._pickled = _held(copied, self._shares)
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

    def take(self) -> Values:
        """Return the values themselves if nobody has got a copy of them, else a copy."""
        return self._values if self._pickled is None else self.copy()


AtRest = Values | Pickled | Held
"""Values of which each attempt gets its own copy; a dict has nothing that can be changed."""


def fresh(values: AtRest) -> Values:
    """Return values that nobody else can change."""
    return dict(values) if type(values) is dict else values.copy()


def taken(values: AtRest) -> Values:
    """Return values for who gets them last."""
    return values.take() if isinstance(values, Held) else fresh(values)


def held(values: Mapping[str, Any]) -> AtRest:
    """Put values at rest that stay in this process."""
    plain = dict(values)
    return plain if is_unchangeable(plain) else Held(plain)


def packed(values: Mapping[str, Any]) -> AtRest:
    """Put values at rest so that they can be sent to another process.

    Raises:
        Exception: Whatever a value raises that cannot be pickled.
    """
    plain = dict(values)
    if is_unchangeable(plain):
        return plain
    try:
        data = pickle.dumps(plain, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        return Pickled(pack(plain))
    # Plain pickle is much faster, but keeps of functions and classes the name alone.
    return Pickled(pack(plain) if by_value.is_needed(data) else data)


def pack(value: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Pickle, by value what is defined in ``__main__`` or in a notebook.

    Args:
        value: What is pickled.
        buffers: Gets large memory, which is left out of the pickle; None leaves nothing out.
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


class _HeldPickler(pickle.Pickler):
    """Pickles within a process: functions, classes and modules stay what they are."""

    def __init__(self, file: io.BytesIO, code: list[Any], callback: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL, buffer_callback=callback)
        self._code = code

    def persistent_id(self, value: Any) -> int | None:
        if not isinstance(value, _CODE):
            return None
        self._code.append(value)
        return len(self._code) - 1


def _held(values: Values, shares: bool) -> Pickled:
    file, code, buffers = io.BytesIO(), list[Any](), list[pickle.PickleBuffer]()
    _HeldPickler(file, code, _leaving_out(buffers) if shares else None).dump(values)
    return Pickled(file.getvalue(), [buffer.raw().toreadonly() for buffer in buffers], code)


def _can_be_held(value: Any) -> bool:
    try:
        _held({"": value}, shares=True).copy()
    except Exception:
        return False
    return True
