"""Which runs have yet to complete a step: a condition for the database, answered by its indexes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.storage.connections import Transaction
from mltraq_prefect.storage.names import step_key

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
        is_changed: Says of the fingerprint with which a run has failed in it whether the step is
            another one now; such runs are among them. None if that is not known.
    """

    step: str
    failed: bool = False
    is_changed: Callable[[str], bool] | None = None


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
