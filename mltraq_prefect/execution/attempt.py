"""One step on one run."""

from __future__ import annotations

import datetime
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mltraq_prefect.errors import InvalidStep
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.run import Run


def attempt(step: Step, run: Run, *, seeded: bool) -> str | None:
    """Execute a step on a run and note in its ledger entry what happened.

    Args:
        step: What to execute.
        run: Changed in place.
        seeded: Whether to seed `random` and `numpy.random` from the run first.

    Returns:
        None, or the traceback of what the step raised.
    """
    entry = run.ledger
    entry.started_at = entry.started_at or datetime.datetime.now(datetime.UTC)
    entry.attempts = entry.attempts + 1 if entry.state == "failed" else 1
    run.begin(step.name)
    if seeded:
        _seed_globals(run)
    start = time.perf_counter()
    error = _call(step, run)
    entry.duration_s = (entry.duration_s or 0.0) + time.perf_counter() - start
    if error is None:
        entry.state, entry.error = "completed", None
        entry.steps[step.name] = step.fingerprint
    return error


def _call(step: Step, run: Run) -> str | None:
    params = dict(run.params)
    try:
        step.function(run)
        _refuse_changed_params(step, params, run)
    except (Exception, SystemExit) as error:
        return _traceback(step, error)
    return None


def _refuse_changed_params(step: Step, before: dict[str, object], run: Run) -> None:
    for name in before.keys() | run.params.keys():
        missing = object()
        if run.params.get(name, missing) is not before.get(name, missing):
            raise InvalidStep(
                f"step {step.name!r} changed run.params[{name!r}], which identifies the run; "
                "track results in run.fields, scratch values in run.locals"
            )


def _traceback(step: Step, error: BaseException) -> str:
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, frames))
    return f"step {step.name}: {text.rstrip()}"


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
