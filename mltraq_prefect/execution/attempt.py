"""One step on one run."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from mltraq_prefect.errors import InvalidStep
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.execution.tracebacks import describe_error, type_name
from mltraq_prefect.run import Run


class Attempt(NamedTuple):
    """What an attempt came to.

    Attributes:
        error: Traceback of what the step raised, or None.
        returned: Type of what it returned, or None as it should be.
        error_type: Type of what the step raised, or None.
    """

    error: str | None
    returned: str | None
    error_type: str | None = None


def attempt(step: Step, run: Run, *, seeded: bool) -> Attempt:
    """Execute a step on a run and note in its ledger entry what happened.

    Args:
        step: What to execute.
        run: Changed in place.
        seeded: Whether to seed `random` and `numpy.random` from the run first.
    """
    entry = run.ledger
    entry.begin(step.name, step.fingerprint)
    run.begin(step.name)
    if seeded:
        _seed_globals(run)
    start = time.perf_counter()
    result = _call(step, run)
    entry.spend(step.name, time.perf_counter() - start)
    entry.error_type = result.error_type
    if result.error is None:
        entry.complete(step.name, step.fingerprint)
    return result


def _call(step: Step, run: Run) -> Attempt:
    params = dict(run.params)
    try:
        value = step.function(run)
        _refuse_changed_params(step, params, run)
    except (Exception, SystemExit) as error:
        return Attempt(describe_error(step.name, error), None, type_name(error))
    return Attempt(None, None if value is None else type(value).__name__)


def _refuse_changed_params(step: Step, before: dict[str, object], run: Run) -> None:
    for name in before.keys() | run.params.keys():
        missing = object()
        if run.params.get(name, missing) is not before.get(name, missing):
            raise InvalidStep(
                f"step {step.name!r} changed run.params[{name!r}], which identifies the run; "
                "track results in run.fields, scratch values in run.locals"
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
