"""Plain values of a pickle, read without unpickling: nothing is imported, and nothing is called.

Only what builds numbers, texts, bytes and containers is known; a pickle that does anything else is
refused (https://docs.python.org/3/library/pickletools.html).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from mltraq_prefect.errors import CorruptData

MOST_OPCODES = 10_000_000

_MARK = object()

_LITERALS = frozenset(
    (
        *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
    )
)
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": set,
    "EMPTY_TUPLE": tuple,
}
_IGNORED = frozenset(("PROTO", "FRAME"))
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_REFUSAL = "it is not a pickle of plain values"


def plain_values(data: bytes) -> Any:
    """Return what a pickle of plain values holds.

    Raises:
        CorruptData: It is damaged, or would do something else than build plain values.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > MOST_OPCODES:
                raise CorruptData("it has too many parts")
            if opcode.name == "STOP":
                return machine.result()
            machine.do(opcode.name, argument)
    except CorruptData:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, MemoryError):
        raise CorruptData(_REFUSAL) from None
    raise CorruptData("it ends too early")


class _Machine:
    """A stack, and a memo of what was on it."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def result(self) -> Any:
        (value,) = self._stack
        return value

    def do(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self._stack.append(argument)
        elif name in _MADE:
            self._stack.append(_MADE[name]())
        elif name == "MARK":
            self._stack.append(_MARK)
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._stack[-count:] = [tuple(self._checked(self._stack[-count:], count))]
        elif name not in _IGNORED:
            self._other(name, argument)

    def _other(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "APPEND":
            value = stack.pop()
            self._of(list).append(value)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._of(dict)[key] = value
        elif name == "TUPLE":
            stack.append(tuple(self._marked()))
        elif name == "APPENDS":
            values = self._marked()
            self._of(list).extend(values)
        elif name == "ADDITEMS":
            values = self._marked()
            self._of(set).update(values)
        elif name == "SETITEMS":
            values = self._marked()
            self._of(dict).update(zip(values[::2], values[1::2], strict=True))
        else:
            raise CorruptData(f"{_REFUSAL}: it would {name}")

    def _marked(self) -> list[Any]:
        """Take what is above the last mark."""
        place = len(self._stack) - 1 - self._stack[::-1].index(_MARK)
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _checked(self, values: list[Any], count: int) -> list[Any]:
        if len(values) != count or any(value is _MARK for value in values):
            raise CorruptData(_REFUSAL)
        return values

    def _of(self, type_: type) -> Any:
        """Return the container on the stack, which must be of a type."""
        if type(self._stack[-1]) is not type_:
            raise CorruptData(_REFUSAL)
        return self._stack[-1]
