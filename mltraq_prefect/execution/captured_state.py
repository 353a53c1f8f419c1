"""State that a function captures, and that a run may change: it is unpickled anew each time."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

from mltraq_prefect.execution.frozen_values import Pickled, is_unchangeable
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.pickling import unpickled

_STATELESS = (types.BuiltinFunctionType, types.ModuleType)
_DESCRIPTORS = (property, staticmethod, classmethod, types.MemberDescriptorType)


def step_factory(pickled: Pickled) -> tuple[Callable[[], Step], list[Step]]:
    """Return what makes a step for each attempt, and the step if that is always the same one.

    It is if it brings no state, or is a function of a module: what it changes is put back.

    Args:
        pickled: Pickle of the step.
    """
    step, other = _unpickled_step(pickled), _unpickled_step(pickled)
    if step.function is other.function or not _captures_state(step.function):
        return lambda: step, [step]
    return functools.partial(_unpickled_step, pickled), []


def _unpickled_step(pickled: Pickled) -> Step:
    step: Step = unpickled(pickled.data, buffers=pickled.buffers)
    return step


def _captures_state(function: Any) -> bool:
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, _STATELESS) or is_unchangeable({"": value}):
            continue
        seen.add(id(value))
        if isinstance(value, type):
            waiting.extend(_attributes(value))
        elif isinstance(value, types.FunctionType):
            waiting.extend(_captured(value))
        elif isinstance(value, functools.partial):
            waiting += [value.func, *value.args, *value.keywords.values()]
        elif isinstance(value, (tuple, frozenset)):
            waiting.extend(value)
        else:
            return True
    return False


def _attributes(kind: type) -> Iterator[Any]:
    """Yield the attributes of a class that is sent by value."""
    if kind.__module__ == "__main__":
        for name, value in vars(kind).items():
            if not isinstance(value, _DESCRIPTORS) and not name.startswith("__"):
                yield value


def _captured(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    names = function.__code__.co_names
    yield from (function.__globals__[name] for name in names if name in function.__globals__)
