"""Options of `Experiment.execute`, checked before anything is executed.

An option that cannot be honoured is refused, never ignored. Options that depend on the task runner
are checked in `orchestration.runners`.
"""

from __future__ import annotations

import inspect
import math
import operator
import reprlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mltraq_prefect.arguments import check_flags, refused
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.pool.preparation import has_processes, warn_of_threads
from mltraq_prefect.model.names import check_name
from mltraq_prefect.requirements import is_importable, with_extra
from mltraq_prefect.stop import Rule, patience

Backend = Literal["processes", "threads", "local", "prefect"]
Checkpoint = bool | Literal["accept", "replace"]
SEED_BITS = 128
"""What `secrets.randbits(128)` gives, as NumPy recommends, is a seed."""

LEASE_SECONDS, LEAST_LEASE_SECONDS = 30.0, 1.0
"""How long processes wait for a sign of one that executes runs with them."""

OnError = Literal["raise", "keep", "stop"]

CLUSTERS = {"dask": "DaskTaskRunner", "ray": "RayTaskRunner"}


@dataclass(frozen=True, slots=True)
class ExecutionOptions:
    """The options of one execution.

    Attributes:
        kwargs: Values that all runs get as `run.kwargs`.
        n_jobs: Number of workers on this machine; -1 is one for each core, -2 one less.
        backend: Where steps run; None and ``"prefect"`` leave it to the task runner, and the
            latter asks for task runs. On a system without worker processes, None is ``"threads"``.
        task_runner: A Prefect task runner, or None.
        runs_per_task: Size of a batch, or ``"auto"``.
        retries: How often failed runs are tried again.
        retry_delay_seconds: Pause before each retry, in seconds.
        timeout_seconds: Limit for one run in one step, in seconds; None is no limit.
        on_error: What happens if runs fail: ``"raise"``, ``"keep"`` or ``"stop"``.
        max_failures: Number of failures at which the execution stops; None leaves it to
            `on_error`.
        checkpoint: Whether runs are written as they complete, and what counts as completed.
        seed: Seed of `run.rng`.
        rerun: Whether stored runs that have completed the steps are executed again.
        stop: Rules any of which may stop a run early.
        synchronous: Whether steps wait for the decision on each row that they log.
        monitor: Whether the use of CPU, memory and GPU is logged.
        keep_logs: Whether what runs log and print is kept as files of theirs.
        shared: Whether other processes execute the same runs at the same time.
        lease_seconds: How long these wait for a sign of this one; None is the default.
        inside_task: Whether `execute` was called in a task, where steps run in this process.

    Raises:
        InvalidInput: An option has no sense, or cannot be honoured together with another one.
    """

    kwargs: Mapping[str, Any]
    n_jobs: int = -1
    backend: Backend | None = None
    task_runner: Any = None
    runs_per_task: int | Literal["auto"] = "auto"
    retries: int = 0
    retry_delay_seconds: float = 0.0
    timeout_seconds: float | None = None
    on_error: OnError = "raise"
    max_failures: int | None = None
    checkpoint: Checkpoint = False
    seed: int = 0
    rerun: bool = False
    inside_task: bool = False
    stop: Rule | Sequence[Rule] | None = ()  # rules are kept as a tuple
    synchronous: bool = False
    monitor: bool = False
    shared: bool = False
    lease_seconds: float | None = None
    keep_logs: bool = False

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if self.rerun and self.checkpoint:
            raise InvalidInput(
                "rerun=True and checkpoint exclude each other: a checkpoint goes on with what is "
                'there; to execute all runs again use checkpoint="replace"'
            )
        if self.synchronous and not self.stop:
            raise InvalidInput(
                "synchronous=True is about early stops: give stop=..., or leave it out"
            )
        if self.monitor:
            self._check_monitor()
        if self.shared:
            self._check_shared()
        elif self.lease_seconds is not None:
            raise InvalidInput("lease_seconds is about shared=True: give that too, or leave it out")
        if self.has_workers and self.backend is None and not has_processes():
            object.__setattr__(self, "backend", "threads")
            warn_of_threads()
        if self.is_serial:
            self._refuse_what_needs_workers()
        elif self.backend == "threads" and self.timeout_seconds is not None:
            raise InvalidInput(timeout_in_threads())

    @property
    def is_serial(self) -> bool:
        """Whether runs are executed one after the other in this process, without task runs."""
        return self.backend == "local" or self.inside_task

    @property
    def rules(self) -> Sequence[Rule]:
        """Rules any of which may stop a run early."""
        return self.stop if isinstance(self.stop, Sequence) else ()

    @property
    def failure_limit(self) -> int | None:
        """Number of failures at which no more runs are started; None if all are executed."""
        if self.max_failures is None and self.on_error == "stop":
            return 1
        return self.max_failures

    @property
    def has_workers(self) -> bool:
        """Whether steps run in worker processes of this machine, by the options alone."""
        is_own = self.task_runner is None and self.backend in (None, "prefect")
        return not self.is_serial and (is_own or self.backend == "processes")

    def _check_monitor(self) -> None:
        if self.synchronous:
            raise InvalidInput(
                "monitor=True and synchronous=True exclude each other: what is monitored comes "
                "with time, and decisions on rows then depend on it"
            )
        if not is_importable("psutil"):
            raise InvalidInput(
                f"monitor=True needs the package psutil; run: {with_extra('monitor')}"
            )

    def _check_shared(self) -> None:
        if self.checkpoint is False:
            raise InvalidInput(
                "shared=True needs checkpoint=True: processes share their results by the database"
            )
        if self.checkpoint == "replace":
            raise InvalidInput(
                'shared=True and checkpoint="replace" exclude each other: each process would '
                "discard what the others have written; delete the experiment once, before they "
                "start (session.load(name).delete()), and use checkpoint=True"
            )
        if self.stop:
            raise InvalidInput(
                "shared=True and stop=... exclude each other: a rule compares the runs of one "
                "process, so that results would depend on who executes which; raise "
                "mltraq.StopRun in steps, or execute in one process"
            )

    def _refuse_what_needs_workers(self) -> None:
        honoured = {
            "n_jobs": (-1, 1),
            "task_runner": (None,),
            "runs_per_task": ("auto", 1),
            "timeout_seconds": (None,),
        }
        if self.inside_task:
            honoured["backend"] = (None, "local")
        for name, values in honoured.items():
            value = getattr(self, name)
            if not any(value is same or _equal(value, same) for same in values):
                raise InvalidInput(self._cannot_be_honoured(name, value))

    def _cannot_be_honoured(self, name: str, value: object) -> str:
        if self.inside_task:
            where, way_out = "inside a task", "call execute() in the flow instead"
        else:
            where, way_out = 'with backend="local"', "leave out the backend"
        return (
            f"{name} is {reprlib.repr(value)}, which cannot be honoured {where}: there, one run is "
            f"executed after the other in this process; {way_out}, or leave out {name}"
        )


def timeout_in_threads() -> str:
    """Return why there are no time limits in threads, and what to do."""
    return (
        "timeout_seconds needs worker processes, for a thread cannot be stopped; "
        'use backend="processes", or time limits of what the step waits for'
    )


def _equal(value: object, other: object) -> bool:
    return type(value) is type(other) and value == other


def _as_integer(value: object) -> int | None:
    """Return an integer, NumPy's too, as int; None for any other value, truth values included."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _as_seconds(value: object) -> float | None:
    """Return a finite number that is not too large to wait for, or None."""
    if isinstance(value, (bool, str, bytes)):
        return None
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds <= threading.TIMEOUT_MAX else None


def _check_kwargs(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refused(name, value, 'a dict, such as {"epochs": 10}')
    for key in value:
        if not isinstance(key, str):
            raise InvalidInput(f"{name} has the key {reprlib.repr(key)}; keys are strings")
        check_name(key, f"{name}: key")
    return value


def _check_n_jobs(name: str, value: object) -> int:
    number = _as_integer(value)
    if number is None or number == 0:
        raise refused(name, value, "a positive number, or -1 for one a core")
    return number


def _check_backend(name: str, value: object) -> object:
    if isinstance(value, str) and value in CLUSTERS:
        runner = f"task_runner=prefect_{value}.{CLUSTERS[value]}(...)"
        raise refused(name, value, f'{runner}, with the extra "{value}"')
    if value is not None and not _is_one_of(value, *get_args(Backend)):
        raise refused(name, value, '"processes", "threads", "local" or "prefect"')
    return value


def _check_runs_per_task(name: str, value: object) -> object:
    if _is_one_of(value, "auto"):
        return value
    number = _as_integer(value)
    if number is None or number < 1:
        raise refused(name, value, '"auto" or a positive integer')
    return number


def _check_count(name: str, value: object) -> int:
    number = _as_integer(value)
    if number is None or number < 0:
        raise refused(name, value, "0 or a positive integer")
    return number


def _check_seed(name: str, value: object) -> int:
    number = _as_integer(value)
    if number is None or not 0 <= number < 1 << SEED_BITS:
        raise refused(name, value, f"an integer from 0 to 2**{SEED_BITS} - 1")
    return number


def _check_delay(name: str, value: object) -> float:
    seconds = _as_seconds(value)
    if seconds is None or seconds < 0:
        raise refused(name, value, "0 or a positive number of seconds")
    return seconds


def _check_timeout(name: str, value: object) -> float | None:
    if value is None:
        return None
    seconds = _as_seconds(value)
    if seconds is None or seconds <= 0:
        raise refused(name, value, "a positive number of seconds, or None for no limit")
    return seconds


def _check_lease(name: str, value: object) -> float | None:
    if value is None:
        return None
    seconds = _as_seconds(value)
    if seconds is None or seconds < LEAST_LEASE_SECONDS:
        raise refused(name, value, f"a number of seconds, at least {LEAST_LEASE_SECONDS:g}")
    return seconds


def _check_on_error(name: str, value: object) -> object:
    if not _is_one_of(value, "raise", "keep", "stop"):
        raise refused(name, value, '"raise", "keep" or "stop"')
    return value


def _check_max_failures(name: str, value: object) -> int | None:
    if value is None:
        return None
    number = _as_integer(value)
    if number is None or number < 1:
        raise refused(name, value, "a positive integer, or None to execute all runs")
    return number


def _check_checkpoint(name: str, value: object) -> object:
    if not isinstance(value, bool) and not _is_one_of(value, "accept", "replace"):
        raise refused(name, value, 'True, False, "accept" or "replace"')
    return value


def _check_flag(name: str, value: object) -> bool:
    check_flags(**{name: value})
    return bool(value)


def _check_stop(name: str, value: object) -> tuple[Rule, ...]:
    rules = value if isinstance(value, (list, tuple)) else () if value is None else (value,)
    for rule in rules:
        if not (callable(rule) and _takes_curves(rule)):
            choices = "a rule, such as mltraq.stop.median(after=5), or a function (curve, others)"
            raise refused(name, rule, choices)
    return tuple(rules)


def _takes_curves(rule: Callable[..., object]) -> bool:
    """Return whether a rule can be called with a curve and the others, as far as is known."""
    if rule is patience:  # which can, but makes rules
        return False
    try:
        signature = inspect.signature(rule)
    except (TypeError, ValueError):  # of what C has made
        return True
    with suppress(TypeError):
        signature.bind(None, ())
        return True
    return False


def _is_one_of(value: object, *choices: str) -> bool:
    return isinstance(value, str) and value in choices


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "kwargs": _check_kwargs,
    "n_jobs": _check_n_jobs,
    "backend": _check_backend,
    "runs_per_task": _check_runs_per_task,
    "retries": _check_count,
    "retry_delay_seconds": _check_delay,
    "timeout_seconds": _check_timeout,
    "on_error": _check_on_error,
    "max_failures": _check_max_failures,
    "checkpoint": _check_checkpoint,
    "seed": _check_seed,
    "rerun": _check_flag,
    "stop": _check_stop,
    "synchronous": _check_flag,
    "monitor": _check_flag,
    "keep_logs": _check_flag,
    "shared": _check_flag,
    "lease_seconds": _check_lease,
}
