"""Steps: named functions of one run, with a fingerprint of all that determines the result."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mltraq_prefect.errors import InvalidStep
from mltraq_prefect.execution.fingerprints import (
    Manifest,
    ModuleReads,
    fingerprint,
    manifest_of_kwargs,
    manifest_of_step,
)
from mltraq_prefect.model.identity import Buffers
from mltraq_prefect.model.run import Run

StepFunction = Callable[[Run], object]

CheckFields = Callable[[Mapping[str, Any]], None]
"""Raises InvalidInput if the fields of a run cannot be stored; workers can import it."""


def _accept(fields: Mapping[str, Any]) -> None:
    """Accept any fields: the check where no tables are involved."""


_EMPTY_MANIFEST = Manifest({})


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an execution.

    Attributes:
        name: Name of the function; made unique within the execution.
        function: Called with each run; its return value is ignored.
        fingerprint: Hashes of code and kwargs, and the seed.
        check: Raises InvalidInput if the fields of a run cannot be stored.
        code: Parts of the fingerprint of the code; not sent to workers.
        inputs: Parts of the fingerprint of the kwargs; not sent to workers.
    """

    name: str
    function: StepFunction
    fingerprint: str
    check: CheckFields = _accept
    code: Manifest = field(default=_EMPTY_MANIFEST, compare=False, repr=False)
    inputs: Manifest = field(default=_EMPTY_MANIFEST, compare=False, repr=False)

    @property
    def reads(self) -> ModuleReads:
        """What its code, and the code that it gets, read from modules."""
        return self.code.reads.with_those(self.inputs.reads)

    def with_reads(self, reads: ModuleReads) -> Step:
        """Return the step with further code that it gets."""
        inputs = replace(self.inputs, reads=self.inputs.reads.with_those(reads))
        return replace(self, inputs=inputs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Step, (self.name, self.function, self.fingerprint, self.check)


def as_steps(
    steps: StepFunction | Iterable[StepFunction] | None,
    kwargs: Mapping[str, Any],
    seed: int,
    check: CheckFields = _accept,
    buffers: Buffers | None = None,
) -> list[Step]:
    """Check and name the steps of an execution.

    Args:
        steps: Functions of one run, or one of them.
        kwargs: Kwargs of the execution.
        seed: Seed of the random numbers.
        check: Raises InvalidInput if the final fields of a run cannot be stored.
        buffers: Encodes values of the types that can be stored.

    Raises:
        InvalidStep: A step cannot be called with one run, or there is none.
    """
    functions = [steps] if callable(steps) else _as_list(() if steps is None else steps)
    named: dict[str, Any] = {}
    for function in functions:
        _check(function)
        named[_unique(_name(function), named)] = function
    inputs = manifest_of_kwargs(kwargs, buffers)
    codes = {name: manifest_of_step(name, function, buffers) for name, function in named.items()}
    checks = dict.fromkeys(named, _accept) | dict.fromkeys([*named][-1:], check)
    return [
        Step(name, named[name], fingerprint(code, inputs, seed), checks[name], code, inputs)
        for name, code in codes.items()
    ]


def refuse_edited(steps: Iterable[Step]) -> None:
    """Refuse code that differs from its file: worker processes would import the file.

    Raises:
        InvalidStep: A function that a step reaches was edited since this process imported it.
    """
    for step in steps:
        for name in (*step.code.edited(), *step.inputs.edited()):
            module = name.partition(".")[0]
            raise InvalidStep(
                f"step {step.name!r}: {name} was edited after this process has imported it, and "
                f"worker processes would import it as it is now; reload module {module} "
                "(importlib.reload), or start Python again"
            )


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
    for kind, is_kind in _DEFERRED_FUNCTIONS.items():
        if is_kind(_called(function)):
            raise InvalidStep(
                f"step {_name(function)!r} is {kind}, which executes nothing when it is called; "
                "steps are plain functions of one run"
            )
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise InvalidStep(
            f"step {_name(function)!r} cannot be called with one run as its only argument: {error}"
        ) from None
    except ValueError:
        return  # a builtin without a signature: calling it will tell


_DEFERRED_FUNCTIONS = {
    "async": inspect.iscoroutinefunction,
    "an async generator": inspect.isasyncgenfunction,
    "a generator": inspect.isgeneratorfunction,
}


def _called(function: Any) -> Any:
    """Return the function that a partial, or an object with ``__call__``, calls in the end."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or isinstance(function, type):
        return function
    return _called(type(function).__call__)


def _name(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
