"""One step on one run."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.errors import InvalidStep, MltraqError
from mltraq_prefect.execution.costs import Meter, worker_name
from mltraq_prefect.execution.frozen_values import FrozenValues, freeze, freeze_pickled, thaw
from mltraq_prefect.execution.judge import Attempted
from mltraq_prefect.execution.monitor import monitored
from mltraq_prefect.execution.process_state import in_own_context
from mltraq_prefect.execution.row_buffer import RowBuffer, RowChannel
from mltraq_prefect.execution.run_logs import collected, with_log
from mltraq_prefect.execution.serialization import Freeze, FrozenRun, UnreadableRun, unpicklable
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.execution.tracebacks import describe_error, type_name
from mltraq_prefect.model.files import FileDesk, Listed
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import Placed
from mltraq_prefect.stop import StopRun


@dataclass(frozen=True, slots=True)
class Isolation:
    """How far a step is isolated from the rest of the program.

    Attributes:
        is_own_process: Whether it runs in a worker process, where no exception interrupts the
            execution itself.
        is_alone: Whether the process executes one run at a time, so that globals can be seeded.
        freeze: Freezes the values that a step leaves in a run.
    """

    is_own_process: bool
    is_alone: bool
    freeze: Freeze


WORKER = Isolation(is_own_process=True, is_alone=True, freeze=freeze_pickled)
SERIAL = Isolation(is_own_process=False, is_alone=True, freeze=freeze)
THREAD = Isolation(is_own_process=False, is_alone=False, freeze=freeze)


class Attempt(NamedTuple):
    """Result of an attempt.

    Attributes:
        run: The run after the step; the run before it if the step failed.
        error: Traceback, or the reason of the failure; None if the step completed.
        exception: The exception that the step raised, or None.
        returned: Name of the type that the step returned; None if it returned None, as it should.
        is_stopped: Whether the step has stopped the run: no other step follows.
    """

    run: FrozenRun
    error: str | None = None
    exception: BaseException | None = None
    returned: str | None = None
    is_stopped: bool = False


class _Refused(Exception):
    """The results of a step cannot be accepted; the message says what the step did."""


def attempt(
    step: Step,
    before: FrozenRun,
    kwargs: FrozenValues,
    isolation: Isolation,
    channel: RowChannel,
) -> Attempt:
    """Execute a step on a copy of a run, and record the outcome in its ledger entry.

    Args:
        step: The step.
        before: The run; it is not changed.
        kwargs: Kwargs of the execution; the step gets a copy when it uses them.
        isolation: How far the step is isolated.
        channel: Takes the rows that the step logs.
    """
    entry = before.ledger()
    attempts = entry.begin(step.name, step.fingerprint).attempts
    rows = RowBuffer(Attempted(before.id_run, step.name, attempts), channel)
    meter = Meter(is_own_process=isolation.is_own_process, is_alone=isolation.is_alone)
    collects = channel.files is not None and channel.files.keeps_logs
    collecting = collected() if collects and not isolation.is_own_process else nullcontext()
    try:
        with collecting as log, monitored(rows.note) if channel.monitors else nullcontext():
            result = _attempt(step, before, kwargs, isolation, rows, channel.files)
    finally:
        rows.close(is_retry=attempts > 1)
    entry.spend(step.name, worker_name(), **meter.facts())
    if result.error is None:
        entry.complete(step.name, step.fingerprint, early=result.is_stopped)
    else:
        entry.error, entry.error_type = result.error, type_name(result.exception or Exception())
        entry.fail(step.name, step.fingerprint)
    after = result.run.with_ledger(entry)
    if log is not None and channel.files is not None:
        after = with_log(after, step.name, log, channel.files)
    return Attempt(after, *result[1:])


def _attempt(
    step: Step,
    before: FrozenRun,
    kwargs: FrozenValues,
    isolation: Isolation,
    rows: RowBuffer,
    desk: FileDesk | None,
) -> Attempt:
    run = after = None
    try:
        run = before.run()
        run.defer(_Copies(before, kwargs, desk))
        run.file_desk = desk
        run.begin(step.name)
        run.log_to(rows)
        if isolation.is_alone:
            _seed_globals(run)
        params = run.params, dict(run.params)
        value, is_stopped = None, False
        try:
            value = in_own_context(step.function, run)
        except StopRun:
            is_stopped = True
        _refuse_unexecuted(value)
        _refuse_changed_params(params, run)
        after = _frozen_results(step, before, run, isolation)
    except UnreadableRun as error:
        return Attempt(before, f"step {step.name!r} cannot begin: {error}", error)
    except _Refused as error:
        refused = f"step {step.name!r} {error}"
        return Attempt(before, refused, error.__cause__ or InvalidStep(refused))
    except BaseException as error:
        if not isolation.is_own_process and _is_interruption(error):
            raise
        return Attempt(before, describe_error(step.name, error), error)
    finally:
        if run is not None and after is None:
            run.own_files.drop_new()
    returned = None if value is None else type(value).__name__
    return Attempt(after, returned=returned, is_stopped=is_stopped)


def _is_interruption(error: BaseException) -> bool:
    """Return whether an exception of the user or of Prefect ends the whole execution."""
    is_prefects = type(error).__module__.partition(".")[0] == "prefect"
    return isinstance(error, KeyboardInterrupt) or (
        is_prefects and not isinstance(error, Exception)
    )


class _Copies:
    """A `Source` that copies kwargs and ledger entry when a step uses them.

    Args:
        before: The frozen run.
        kwargs: The frozen kwargs of the execution.
        desk: Knows the stored files of the run.
    """

    parts = frozenset(("kwargs", "ledger"))
    reads = False

    def __init__(self, before: FrozenRun, kwargs: FrozenValues, desk: FileDesk | None) -> None:
        self.lock = threading.Lock()
        self._desk = desk
        self._before = before
        self._kwargs = kwargs

    def make(self, part: str, _run: Run) -> Any:
        """Return a new copy."""
        return Namespace(thaw(self._kwargs)) if part == "kwargs" else self._before.ledger()

    def logged(self, _ids: Sequence[str]) -> Mapping[str, Sequence[Placed]]:
        """Return nothing: a step has no database."""
        return {}

    def files(self, runs: Sequence[Run]) -> Mapping[str, Listed]:
        """Return what the process of the execution says of stored files."""
        desk = self._desk
        return {} if desk is None else {run.id_run: desk.listed(run.id_run) for run in runs}


_DEFERRED_RESULTS: dict[str, Callable[[object], bool]] = {
    "a coroutine": inspect.isawaitable,
    "a generator": inspect.isgenerator,
    "an async generator": inspect.isasyncgen,
}


def _refuse_unexecuted(value: object) -> None:
    """Refuse a returned coroutine or generator: nothing of it was executed."""
    if value is None:
        return
    for kind, is_kind in _DEFERRED_RESULTS.items():
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


def _frozen_results(step: Step, before: FrozenRun, run: Run, isolation: Isolation) -> FrozenRun:
    """Freeze the results of a step; the run fails if they cannot be kept."""
    parts = {"fields": _values_left(run, "fields"), "locals": _values_left(run, "locals")}
    for key in parts["fields"]:
        if not isinstance(key, str):
            raise _Refused(f"set run.fields[{key!r}]; keys are text")
    try:
        step.check(parts["fields"])
    except MltraqError as error:
        raise _Refused(f"tracked what cannot be kept: {error}") from error
    try:
        return before.with_results(
            isolation.freeze(parts["fields"]),
            isolation.freeze(parts["locals"]),
            run.own_files.entries if run.file_changes() else {},
        )
    except Exception as error:
        culprit = unpicklable(parts)
        if culprit is None:
            raise
        raise _Refused(
            f"left what cannot be sent on: {culprit} cannot be passed on to the next step; "
            f"close and delete it (del run.{culprit.split(' ')[0]}) at the end of the step"
        ) from error


def _values_left(run: Run, name: str) -> dict[str, Any]:
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
    """Restore the states of `random` and `numpy.random` at the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def return_warning(step: str, returned: str) -> str:
    """Return the warning for a step that returns a value."""
    return (
        f"step {step!r} returned a value (of type {returned}), which is ignored: "
        "track results in run.fields"
    )
