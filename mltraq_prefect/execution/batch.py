"""A batch of runs on its way through the steps.

Between steps the runs of a batch are a parcel: the list itself where the batch stays in this
process, else its pickle, which whoever passes it on does not open.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cloudpickle

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.attempt import attempt
from mltraq_prefect.execution.logs import LogRecord, captured
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.run import Run

Parcel = list[Run] | bytes

TASK_RUNS_PER_STEP = 100


@dataclass(slots=True)
class Outcome:
    """What became of a parcel in one step.

    Attributes:
        done: Parcel of the runs that completed the step, or None.
        failed: Parcel of the runs that did not, as they were before it, or None.
        failures: Run for a person and traceback, one a failed run.
        records: What the step logged and printed.
    """

    done: Parcel | None
    failed: Parcel | None
    failures: list[tuple[str, str]]
    records: list[LogRecord] = field(default_factory=list)


class Batch:
    """The runs that one task run handles, in one step.

    Attributes:
        label: Its runs for a person: params of a single run, else positions (``101-200 of 1000``).
        size: Number of runs.
        todo: Parcel of the runs that have yet to complete the step, or None.
        done: Parcels of those that have.
        failures: Of the last attempt: run for a person and traceback, one a failed run.
    """

    __slots__ = ("done", "failures", "label", "size", "todo")

    def __init__(self, label: str, size: int, todo: Parcel) -> None:
        self.label = label
        self.size = size
        self.todo: Parcel | None = todo
        self.done: list[Parcel] = []
        self.failures: list[tuple[str, str]] = []

    def add(self, outcome: Outcome) -> None:
        """Take in an attempt; what failed stays to do."""
        if outcome.done is not None:
            self.done.append(outcome.done)
        self.todo = outcome.failed
        self.failures = outcome.failures

    def next(self) -> Batch | None:
        """Return the runs that completed this step as a batch for the next, if there are any."""
        if not self.done:
            return None
        size = self.size - len(self.failures)
        if len(self.done) == 1:
            return Batch(self.label, size, self.done[0])
        runs = [run for parcel in self.done for run in opened(parcel)]
        return Batch(self.label, size, pack(runs) if isinstance(self.done[0], bytes) else runs)

    def __repr__(self) -> str:
        return f"<runs {self.label}>"


def split(runs: Sequence[Run], runs_per_task: int | str) -> Iterator[tuple[str, list[Run]]]:
    """Yield label and runs of each batch.

    Args:
        runs: In the order of the experiment.
        runs_per_task: Runs in a batch; ``"auto"`` is one, while that makes at most 100 batches.
    """
    total = len(runs)
    auto = -(-total // TASK_RUNS_PER_STEP)
    size = auto if isinstance(runs_per_task, str) else runs_per_task
    for start in range(0, total, size or 1):
        members = list(runs[start : start + size])
        positions = f"{start + 1}-{start + len(members)} of {total}"
        yield (members[0].describe() if size == 1 else positions), members


def opened(parcel: Parcel) -> list[Run]:
    """Return the runs of a parcel; each call on a pickled one returns new objects."""
    if isinstance(parcel, bytes):
        runs: list[Run] = pickle.loads(parcel)
        return runs
    return parcel


def pack(value: Any) -> bytes:
    """Pickle, by value what is defined in ``__main__`` or in a notebook."""
    packed: bytes = cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return packed


def pack_runs(runs: list[Run]) -> bytes:
    """Pickle runs that are to be executed.

    Raises:
        InvalidInput: A run holds something that cannot be sent to another process.
    """
    try:
        return pack(runs)
    except Exception:
        for run in runs:
            if culprit := unpicklable(run):
                raise InvalidInput(
                    f"run {run.describe()}: {culprit} cannot be sent to a worker process; "
                    'create it inside a step, or use backend="threads"'
                ) from None
        raise


def unpicklable(run: Run) -> str | None:
    """Name what keeps a run from being pickled, such as ``locals.lock (of type lock)``."""
    for part in ("params", "kwargs", "fields", "locals"):
        for key, value in getattr(run, part).items():
            try:
                pack(value)
            except Exception:
                return f"{part}.{key} (of type {type(value).__name__})"
    return None


@lru_cache(maxsize=64)
def _step(packed: bytes) -> Step:
    step: Step = pickle.loads(packed)
    return step


def execute_batch(packed_step: bytes, parcel: bytes, level: int) -> Outcome:
    """Execute a step on the runs of a pickled parcel; this is what worker processes call.

    Args:
        packed_step: Pickled `Step`.
        parcel: Pickled runs.
        level: Log records below this level are not collected.
    """
    with captured(level) as records:
        step = _step(packed_step)
        runs = opened(parcel)
        failures = _attempt_all(step, runs, seeded=True)
        done, unpacked = _pack_done([run for run in runs if run.id_run not in failures])
        failures |= unpacked
    failed = _as_before(opened(parcel), runs, failures) if failures else []
    return Outcome(done, pack(failed) if failed else None, _described(failed), records)


def execute_batch_here(step: Step, parcel: list[Run]) -> Outcome:
    """Execute a step on runs in this thread, without seeding the global generators."""
    before = [run.copy() for run in parcel]
    failures = _attempt_all(step, parcel, seeded=False)
    done = [run for run in parcel if run.id_run not in failures]
    failed = _as_before(before, parcel, failures)
    return Outcome(done or None, failed or None, _described(failed))


def lost_batch(batch: Batch, reason: str) -> Outcome:
    """Return the outcome of an attempt of which nothing came back: every run failed."""
    runs = opened(batch.todo or [])
    for run in runs:
        entry = run.ledger
        entry.attempts = entry.attempts + 1 if entry.state == "failed" else 1
        entry.state, entry.error = "failed", reason
    packed = isinstance(batch.todo, bytes)
    return Outcome(None, pack(runs) if packed else runs, _described(runs))


def _attempt_all(step: Step, runs: list[Run], *, seeded: bool) -> dict[str, str]:
    errors = ((run.id_run, attempt(step, run, seeded=seeded)) for run in runs)
    return {id_run: error for id_run, error in errors if error is not None}


def _as_before(before: list[Run], after: list[Run], failures: dict[str, str]) -> list[Run]:
    """Return the failed runs as they were before the step, with a ledger that tells the failure."""
    ledgers = {run.id_run: run.ledger for run in after}
    failed = [run for run in before if run.id_run in failures]
    for run in failed:
        run.ledger = ledgers[run.id_run]
        run.ledger.state = "failed"
        run.ledger.error = failures[run.id_run]
    return failed


def _pack_done(runs: list[Run]) -> tuple[bytes | None, dict[str, str]]:
    try:
        return (pack(runs) if runs else None), {}
    except Exception:
        culprits = {run.id_run: unpicklable(run) for run in runs}
        failures = {
            id_run: f"{culprit} cannot be passed on to the next step; "
            "close it, and delete it from the run, at the end of the step"
            for id_run, culprit in culprits.items()
            if culprit is not None
        }
        kept = [run for run in runs if run.id_run not in failures]
        return (pack(kept) if kept else None), failures


def _described(failed: list[Run]) -> list[tuple[str, str]]:
    return [(run.describe(), run.ledger.error or "") for run in failed]
