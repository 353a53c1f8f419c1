"""One step on one run."""

from __future__ import annotations

import inspect
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.errors import InvalidStep, MltraqError
from mltraq_prefect.execution.copies import AtRest, fresh, held, packed
from mltraq_prefect.execution.process_state import in_own_context
from mltraq_prefect.execution.serialization import Rest, Resting, UnreadableRun, unpicklable
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.execution.tracebacks import describe_error, type_name
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run


@dataclass(frozen=True, slots=True)
class Place:
    """Where steps are executed.

    Attributes:
        is_own_process: Whether what a step raises can be no interruption of the execution.
        is_alone: Whether one run is executed at a time, so that the process is its own meanwhile.
        rest: Puts at rest what a step leaves in a run.
    """

    is_own_process: bool
    is_alone: bool
    rest: Rest


WORKER = Place(is_own_process=True, is_alone=True, rest=packed)
SERIAL = Place(is_own_process=False, is_alone=True, rest=held)
THREAD = Place(is_own_process=False, is_alone=False, rest=held)


class Attempt(NamedTuple):
    """What an attempt came to.

    Attributes:
        run: As the step has left it; as it was before the step if that failed.
        error: Traceback of what the step raised, or why it failed; None if it completed.
        exception: What the step raised, or None.
        returned: Type of what it returned, or None as it should be.
    """

    run: Resting
    error: str | None = None
    exception: BaseException | None = None
    returned: str | None = None


class _Refused(Exception):
    """What a step has left behind cannot be taken; says what it did."""


def attempt(step: Step, before: Resting, kwargs: AtRest, place: Place) -> Attempt:
    """Execute a step on a new copy of a run, and note in its ledger entry what happened.

    Args:
        step: What to execute.
        before: The run; nothing in it is changed.
        kwargs: Of which the step gets a copy, when it asks for it.
        place: Where this is.
    """
    entry = before.ledger()
    entry.begin(step.name, step.fingerprint)
    start = time.perf_counter()
    result = _attempt(step, before, kwargs, place)
    entry.spend(step.name, duration_s=time.perf_counter() - start)
    if result.error is None:
        entry.complete(step.name, step.fingerprint)
    else:
        entry.error, entry.error_type = result.error, type_name(result.exception or Exception())
        entry.fail(step.name, step.fingerprint)
    return Attempt(result.run.with_ledger(entry), *result[1:])


def _attempt(step: Step, before: Resting, kwargs: AtRest, place: Place) -> Attempt:
    try:
        run = before.run()
        run.defer(_Copies(before, kwargs))
        run.begin(step.name)
        if place.is_alone:
            _seed_globals(run)
        params = run.params, dict(run.params)
        value = in_own_context(step.function, run)
        _refuse_unexecuted(value)
        _refuse_changed_params(params, run)
        after = _at_rest(step, before, run, place)
    except UnreadableRun as error:
        return Attempt(before, f"step {step.name!r} cannot begin: {error}", error)
    except _Refused as error:
        refused = f"step {step.name!r} {error}"
        return Attempt(before, refused, error.__cause__ or InvalidStep(refused))
    except BaseException as error:
        if not place.is_own_process and _is_interruption(error):
            raise
        return Attempt(before, describe_error(step.name, error), error)
    return Attempt(after, returned=None if value is None else type(value).__name__)


def _is_interruption(error: BaseException) -> bool:
    """Return whether a user or Prefect ends the execution, rather than a step itself."""
    is_prefects = type(error).__module__.partition(".")[0] == "prefect"
    return isinstance(error, KeyboardInterrupt) or (
        is_prefects and not isinstance(error, Exception)
    )


class _Copies:
    """Makes the kwargs and the ledger entry of a run for the step that asks for them: a `Source`.

    Args:
        before: The run at rest.
        kwargs: Of the execution, at rest.
    """

    parts = frozenset(("kwargs", "ledger"))

    def __init__(self, before: Resting, kwargs: AtRest) -> None:
        self.lock = threading.Lock()
        self._before = before
        self._kwargs = kwargs

    def make(self, part: str, _run: Run) -> Any:
        """Return a copy that nobody else has."""
        return Namespace(fresh(self._kwargs)) if part == "kwargs" else self._before.ledger()


_NOT_EXECUTED: dict[str, Callable[[object], bool]] = {
    "a coroutine": inspect.isawaitable,
    "a generator": inspect.isgenerator,
    "an async generator": inspect.isasyncgen,
}


def _refuse_unexecuted(value: object) -> None:
    """Refuse what a call returns that has only been prepared, and executed nothing."""
    if value is None:
        return
    for kind, is_kind in _NOT_EXECUTED.items():
        if is_kind(value):
            if close := getattr(value, "close", None):
                close()
            raise _Refused(
                f"returned {kind} (of type {type(value).__name__}), so nothing was executed; "
                "a step is a plain function: run it to its end inside, with asyncio.run() or list()"
            )


def _refuse_changed_params(before: tuple[Namespace, dict[str, object]], run: Run) -> None:
    namespace, values = before
    missing = object()
    now = dict(run.params) if isinstance(run.params, dict) else {}
    for name in values.keys() | now.keys():
        if now.get(name, missing) is not values.get(name, missing):
            raise _Refused(
                f"changed run.params[{name!r}], which identifies the run; "
                "track results in run.fields, scratch values in run.locals"
            )
    if run.params is not namespace:
        raise _Refused("replaced run.params, which identify the run; leave them as they are")


def _at_rest(step: Step, before: Resting, run: Run, place: Place) -> Resting:
    """Put what a step has left in a run at rest; what cannot be kept fails the run."""
    parts = {"fields": _left(run, "fields"), "locals": _left(run, "locals")}
    for key in parts["fields"]:
        if not isinstance(key, str):
            raise _Refused(f"set run.fields[{key!r}]; keys are text")
    try:
        step.check(parts["fields"])
    except MltraqError as error:
        raise _Refused(f"tracked what cannot be kept: {error}") from error
    try:
        return before.with_results(place.rest(parts["fields"]), place.rest(parts["locals"]))
    except Exception as error:
        culprit = unpicklable(parts)
        if culprit is None:
            raise
        raise _Refused(
            f"left what cannot be sent on: {culprit} cannot be passed on to the next step; "
            f"close and delete it (del run.{culprit.split(' ')[0]}) at the end of the step"
        ) from error


def _left(run: Run, name: str) -> dict[str, Any]:
    values = getattr(run, name)
    if isinstance(values, dict):
        return dict(values)
    raise _Refused(
        f"left run.{name} as {values!r:.80}, of type {type(values).__name__}; "
        f'set items of it: run.{name}["x"] = ...'
    )


def _seed_globals(run: Run) -> None:
    words = np.random.SeedSequence(run.entropy()).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """Give `random` and `numpy.random` their states back at the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def useless_return(step: str, returned: str) -> str:
    """Return what to tell about a step that returns values."""
    return (
        f"step {step!r} returned a value (of type {returned}), which is ignored: "
        "track results in run.fields"
    )
