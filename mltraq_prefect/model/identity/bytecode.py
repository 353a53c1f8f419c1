"""A digest of what a code object does, whatever its layout.

Comments, docstrings, blank lines, line numbers, file names and the names of functions do not count.
Bytecode is that of one minor version of Python: digests of two versions cannot be compared.
"""

from __future__ import annotations

import dis
import functools
import inspect
from bisect import bisect_left
from types import CodeType
from typing import Any

import xxhash

_LAYOUT = frozenset(("NOP", "EXTENDED_ARG", "CACHE"))
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_CONSTANT_OPCODES = frozenset(dis.hasconst)
_NOTES = frozenset(("__doc__", "__firstlineno__"))
_CODE_FLAGS = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)


@functools.lru_cache(maxsize=8192)
def code_digest(code: CodeType) -> str:
    """Return 128 bits in hexadecimal digits of what a code object does."""
    count = code.co_argcount + code.co_kwonlyargcount
    variadic = bool(code.co_flags & inspect.CO_VARARGS) + bool(
        code.co_flags & inspect.CO_VARKEYWORDS
    )
    head = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & _CODE_FLAGS,
        code.co_varnames[: count + variadic],
    )
    text = f"{head!r} {_instructions(code)!r}"
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))


def _instructions(code: CodeType) -> list[Any]:
    """Describe instructions and exception handlers, with numbers of instructions for offsets."""
    bytecode = dis.Bytecode(code)
    kept = _without_notes([i for i in bytecode if i.opname not in _LAYOUT])
    offsets = [instruction.offset for instruction in kept]
    found: list[Any] = [_instruction(instruction, offsets) for instruction in kept]
    for handler in getattr(bytecode, "exception_entries", ()):
        start, end, target = (
            bisect_left(offsets, offset) for offset in (handler.start, handler.end, handler.target)
        )
        found.append((start, end, target, handler.depth, handler.lasti))
    return found


def _without_notes(instructions: list[dis.Instruction]) -> list[dis.Instruction]:
    """Leave out what gives a class in a function its docstring and line number."""
    noted = {
        place
        for place, instruction in enumerate(instructions)
        if instruction.opname == "STORE_NAME" and instruction.argval in _NOTES
    }
    dropped = noted | {place - 1 for place in noted}
    return [i for place, i in enumerate(instructions) if place not in dropped]


def _instruction(instruction: dis.Instruction, offsets: list[int]) -> tuple[Any, ...]:
    if instruction.opcode in _CONSTANT_OPCODES:
        return (instruction.opname, _constant(instruction.argval))
    if instruction.opcode in _JUMPS:
        return (instruction.opname, bisect_left(offsets, instruction.argval))
    if isinstance(instruction.argval, (str, tuple)):
        return (instruction.opname, instruction.argrepr)  # names, whatever their numbers
    return (instruction.opname, instruction.arg)


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return ("code", code_digest(value))
    if isinstance(value, tuple):
        return ("tuple", [_constant(item) for item in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted(repr(_constant(item)) for item in value))
    return (type(value).__name__, repr(value))
