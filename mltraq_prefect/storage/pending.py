"""Which runs have yet to complete a step: a condition for the database, answered by its indexes."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.connections import Transaction
from mltraq_prefect.storage.index import Entry
from mltraq_prefect.storage.names import step_key

_logger = logging.getLogger("mltraq_prefect")

_VERSION = "_0123456789"
"""What a name may end with that another step of its kind has otherwise."""

_ROW = (
    "SELECT 1 FROM experiment_run_steps AS s WHERE s.id_experiment = experiment_runs.id_experiment "
    "AND s.step_key = ? AND s.id_run = experiment_runs.id_run"
)


@dataclass(frozen=True, slots=True)
class Pending:
    """Runs on which a step can be tried: it was not completed, and no earlier step is in the way.

    Attributes:
        step: Name of the step.
        failed: Whether runs that have failed in it are among them.
        is_name: Whether a person has typed the name, which may be misspelt.
        is_changed: Says of the fingerprint with which a run has failed in it whether the step is
            another one now; such runs are among them. None if that is not known.
    """

    step: str
    failed: bool = False
    is_name: bool = False
    is_changed: Callable[[str], bool] | None = None


def check_name(transaction: Transaction, pending: Pending | None, entry: Entry) -> None:
    """Doubt the name of a step that no run of an experiment has ever tried.

    A step is new once, so a name that resembles no other one is only told of in the log.

    Raises:
        InvalidInput: It is nearly the name of a step that runs have tried.
    """
    if pending is None or not pending.is_name:
        return
    known = _steps(transaction, entry.id_experiment)
    if not known or pending.step in known:
        return
    told = f"no run of experiment {entry.name!r} has tried a step {pending.step!r}"
    listed = ", ".join(map(repr, known))
    close = difflib.get_close_matches(pending.step, known, n=1, cutoff=0.8)
    if close and close[0].rstrip(_VERSION) != pending.step.rstrip(_VERSION):
        raise InvalidInput(
            f"pending: {told}; did you mean {close[0]!r}? Known: {listed}. If the step is new, "
            "give the function itself instead of its name"
        )
    _logger.warning("pending: %s yet; known: %s", told, listed)


def _steps(transaction: Transaction, id_experiment: str) -> list[str]:
    """Return the steps that runs have tried, each found by one look at an index."""
    names: list[str] = []
    last = ""
    sql = "SELECT min(step_key) FROM experiment_run_steps WHERE id_experiment = ? AND step_key > ?"
    name = "SELECT step FROM experiment_run_steps WHERE id_experiment = ? AND step_key = ? LIMIT 1"
    while True:
        ((last,),) = transaction.rows(sql, (id_experiment, last))
        if last is None:
            return names
        names += [str(step) for (step,) in transaction.rows(name, (id_experiment, last))]


Condition = tuple[str, tuple[Any, ...]]
"""What follows a WHERE clause about `experiment_runs`, and its parameters."""


def condition(
    transaction: Transaction, pending: Pending | None, id_experiment: str | None = None
) -> Condition:
    """Return the condition that a run is pending.

    Args:
        transaction: Where.
        pending: Which runs; all if None.
        id_experiment: The experiment; any if None.
    """
    if pending is None:
        return "", ()
    key = step_key(pending.step)
    sql = f" AND (step IS NULL OR step = ?) AND NOT EXISTS ({_ROW} AND s.state = 'completed')"
    parameters = (pending.step, key)
    if pending.failed:
        return sql, parameters
    prints = _changed(transaction, pending, id_experiment)
    if not prints:
        return f"{sql} AND state <> 'failed'", parameters
    marks = ", ".join("?" * len(prints))
    again = f"EXISTS ({_ROW} AND s.state <> 'completed' AND s.fingerprint IN ({marks}))"
    return f"{sql} AND (state <> 'failed' OR {again})", (*parameters, key, *prints)


def _changed(transaction: Transaction, pending: Pending, id_experiment: str | None) -> list[str]:
    """Return the fingerprints of failures of what the step was before."""
    if pending.is_changed is None:
        return []
    sql = (
        "SELECT DISTINCT fingerprint FROM experiment_run_steps "
        "WHERE step_key = ? AND state <> 'completed' AND fingerprint IS NOT NULL"
    )
    parameters: tuple[Any, ...] = (step_key(pending.step),)
    if id_experiment is not None:
        sql, parameters = f"{sql} AND id_experiment = ?", (*parameters, id_experiment)
    found = [print_ for (print_,) in transaction.rows(sql, parameters)]
    return [print_ for print_ in found if pending.is_changed(print_)]
