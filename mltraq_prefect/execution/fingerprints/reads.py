"""What a code object reads from outside: global names, the attributes of modules, imports."""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType

_IMPORT_LOOKAHEAD = 4


@dataclass(frozen=True, slots=True)
class Import:
    """A module that a function imports.

    Attributes:
        module: Its name, as the statement has it.
        level: How many dots are before that name.
        attribute: What is taken from it, or None.
    """

    module: str
    level: int = 0
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Something that a code object reads.

    Attributes:
        root: A global name, or what was imported.
        attributes: Attributes that are taken from it, each from the one before.
    """

    root: str | Import
    attributes: tuple[str, ...] = ()


@functools.lru_cache(maxsize=8192)
def reads_of(code: CodeType) -> tuple[Read, ...]:
    """Return what a code object reads, and those of the functions and classes that it defines."""
    found: dict[Read, None] = {}
    waiting: list[tuple[CodeType, Mapping[str, Import]]] = [(code, {})]
    while waiting:
        current, outer = waiting.pop()
        instructions = [i for i in dis.get_instructions(current) if i.opname != "EXTENDED_ARG"]
        imported = dict(outer)
        for place, instruction in enumerate(instructions):
            if instruction.opname in ("IMPORT_NAME", "IMPORT_FROM"):
                _note_import(instructions, place, imported, found)
        for place in range(len(instructions)):
            found.update(dict.fromkeys(_reads_at(instructions, place, imported)))
        nested = (constant for constant in current.co_consts if isinstance(constant, CodeType))
        waiting += [(constant, imported) for constant in nested]
    return tuple(found)


@functools.lru_cache(maxsize=8192)
def names_in(code: CodeType) -> frozenset[str]:
    """Return the names of globals and attributes in a code object, and in those inside it."""
    nested = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return frozenset(code.co_names).union(*map(names_in, nested))


def _note_import(
    instructions: Sequence[dis.Instruction],
    place: int,
    imported: dict[str, Import],
    found: dict[Read, None],
) -> None:
    """Note what an instruction imports, and the variable that it is stored in."""
    statement = place
    while instructions[statement].opname != "IMPORT_NAME":
        statement -= 1
    name = str(instructions[statement].argval)
    level, given = (instructions[statement - n].argval for n in (2, 1))
    if place == statement and not given:
        target = Import(name.partition(".")[0] if level == 0 else name, level)
    elif place == statement:
        return
    elif given:
        target = Import(name, level, str(instructions[place].argval))
        found[Read(target)] = None
    else:  # import a.b as c
        target = Import(name, level)
    for instruction in instructions[place + 1 : place + 1 + _IMPORT_LOOKAHEAD]:
        if instruction.opname.startswith("IMPORT_"):
            return
        if instruction.opname.startswith("STORE_"):
            imported[_names(instruction)[0]] = target
            return


def _reads_at(
    instructions: Sequence[dis.Instruction], place: int, imported: Mapping[str, Import]
) -> Iterator[Read]:
    instruction = instructions[place]
    if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
        yield Read(str(instruction.argval), _attributes(instructions, place))
    elif instruction.opname.startswith(("LOAD_FAST", "LOAD_DEREF", "STORE_FAST_LOAD_FAST")):
        *others, last = _names(instruction)
        if last in imported:
            yield Read(imported[last], _attributes(instructions, place))
        for name in others:
            if name in imported:
                yield Read(imported[name])


def _attributes(instructions: Sequence[dis.Instruction], place: int) -> tuple[str, ...]:
    """Return the attributes that are taken, one after the other, from what has been loaded."""
    found = []
    for instruction in instructions[place + 1 :]:
        if instruction.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        found.append(str(instruction.argval))
    return tuple(found)


def _names(instruction: dis.Instruction) -> tuple[str, ...]:
    value = instruction.argval
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)
