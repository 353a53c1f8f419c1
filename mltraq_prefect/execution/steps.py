"""What is executed: named functions of one run, with a fingerprint of what decides its result.

A fingerprint has three parts, ``<code>-<kwargs>-<seed>``, so that a difference can be named. The
code is that of the function and of the functions of its own module that it calls, with defaults,
captured values and constants; what other modules do is not looked at.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from mltraq_prefect.errors import InvalidStep
from mltraq_prefect.identity import canonical
from mltraq_prefect.run import Run

StepFunction = Callable[[Run], object]

CheckFields = Callable[[Mapping[str, Any]], None]
"""Raises InvalidInput if the fields of a run cannot be stored; workers can import it."""

_CONSTANTS = (bool, int, float, complex, str, bytes, tuple, frozenset, type(None))


def _accept(fields: Mapping[str, Any]) -> None:
    """Find nothing wrong: what steps are checked with where no tables are known."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an execution.

    Attributes:
        name: Name of the function; made unique within the execution.
        function: What is called with each run; what it returns is ignored.
        fingerprint: Hashes of code and kwargs, and the seed.
        check: Raises InvalidInput if what a run has in its fields cannot be stored.
    """

    name: str
    function: StepFunction
    fingerprint: str
    check: CheckFields = _accept


def as_steps(
    steps: StepFunction | Iterable[StepFunction] | None,
    kwargs: Mapping[str, Any],
    seed: int,
    check: CheckFields = _accept,
) -> list[Step]:
    """Check and name the steps of an execution.

    Args:
        steps: Functions of one run, or one.
        kwargs: What all runs get.
        seed: Of the random numbers.
        check: Raises InvalidInput if what a run has in its fields cannot be stored.

    Raises:
        InvalidStep: A step cannot be called with one run, or there is none.
    """
    functions = [steps] if callable(steps) else _as_list(() if steps is None else steps)
    inputs = f"{_digest(_canonical_or_repr(kwargs), 8)}-{seed}"
    named: dict[str, Step] = {}
    for function in functions:
        _check(function)
        name = _unique(_name(function), named)
        named[name] = Step(name, function, f"{_digest(_code(function), 12)}-{inputs}", check)
    return list(named.values())


def differences(before: str, now: str) -> list[str]:
    """Return what differs between two fingerprints: ``code``, ``kwargs``, ``seed``."""
    parts = zip(("code", "kwargs", "seed"), before.split("-"), now.split("-"), strict=False)
    return [name for name, old, new in parts if old != new]


def _as_list(steps: object) -> list[Any]:
    if not isinstance(steps, Iterable) or isinstance(steps, (str, bytes)):
        raise InvalidStep(f"steps must be a function of one run, or a list of them, not {steps!r}")
    functions = list(steps)
    if not functions:
        raise InvalidStep("there are no steps to execute; give a function of one run, or several")
    return functions


def _check(function: object) -> None:
    if not callable(function):
        raise InvalidStep(f"a step must be a function of one run, not {function!r}")
    if inspect.iscoroutinefunction(function):
        raise InvalidStep(
            f"step {_name(function)!r} is async; steps are plain functions of one run"
        )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise InvalidStep(
            f"step {_name(function)!r} cannot be called with one run as its only argument: {error}"
        ) from None
    except ValueError:
        return  # a builtin without a signature: calling it will tell


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _unique(name: str, taken: Mapping[str, Step]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _code(function: Any, seen: frozenset[Any] = frozenset()) -> str:
    """Return text that changes when the code of a function does, but not with its layout."""
    if isinstance(function, functools.partial):
        arguments = _canonical_or_repr({"args": function.args, "kwargs": function.keywords})
        return f"partial {_code(function.func, seen)} {arguments}"
    function = inspect.unwrap(function)
    return f"{_source(function)} {_surroundings(function, seen)}"


def _source(function: Any) -> str:
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):
        code = getattr(function, "__code__", None)
        return _bytecode(code) if code is not None else _canonical_or_repr(type(function))


def _surroundings(function: Any, seen: frozenset[Any]) -> str:
    """Describe what a function takes from outside: defaults, captures, constants, helpers."""
    if not inspect.isfunction(function) or function in seen:
        return ""
    seen |= {function}
    try:
        outside = inspect.getclosurevars(function)
    except ValueError:
        return ""
    taken = {**outside.globals, **outside.nonlocals}
    parts = [_canonical_or_repr([function.__defaults__, function.__kwdefaults__])]
    for name, value in sorted(taken.items()):
        if inspect.isfunction(value):
            if value.__module__ == function.__module__:
                parts.append(f"{name}: {_code(value, seen)}")
        elif name in outside.nonlocals or isinstance(value, _CONSTANTS):
            parts.append(f"{name}={_canonical_or_repr(value)}")
    return " ".join(parts)


def _bytecode(code: CodeType) -> str:
    constants = [_bytecode(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


def _canonical_or_repr(value: Any) -> str:
    try:
        return canonical(value)
    except TypeError as error:
        nested = "contains itself" in str(error)
        return _pickle_or_type(value) if nested else _stable_repr(value)


def _stable_repr(value: Any) -> str:
    """Describe a value without a canonical form by its type alone: reprs may hold addresses."""
    if isinstance(value, Mapping):
        return str({str(key): _canonical_or_repr(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return str([_canonical_or_repr(item) for item in value])
    if isinstance(getattr(value, "__code__", None), CodeType):
        return _code(value)
    return _pickle_or_type(value)


def _pickle_or_type(value: Any) -> str:
    return _digest_of_pickle(value) or f"{type(value).__module__}.{type(value).__qualname__}"


def _digest_of_pickle(value: Any) -> str | None:
    import cloudpickle

    try:
        return _digest(cloudpickle.dumps(value).hex())
    except Exception:
        return None


def _digest(text: str, length: int = 16) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
