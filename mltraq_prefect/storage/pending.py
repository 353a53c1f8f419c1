"""Which runs have yet to complete a step: a condition for the database, answered by its indexes."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage import run_steps
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.names import step_key

_logger = logging.getLogger("mltraq_prefect")

_VERSION_CHARACTERS = "_0123456789"
"""What a name may end with that another step of its kind has otherwise."""


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
    if close and close[0].rstrip(_VERSION_CHARACTERS) != pending.step.rstrip(_VERSION_CHARACTERS):
        raise InvalidInput(
            f"pending: {told}; did you mean {close[0]!r}? Known: {listed}. If the step is new, "
            "give the function itself instead of its name"
        )
    _logger.warning("pending: %s yet; known: %s", told, listed)


def _steps(transaction: Transaction, id_experiment: str) -> list[str]:
    """Return the steps that runs have tried, each found by one look at an index."""
    sql = "SELECT step FROM experiment_run_steps WHERE id_experiment = ? AND step_key = ? LIMIT 1"
    keys = run_steps.step_keys(transaction, id_experiment)
    return [str(step) for key in keys for (step,) in transaction.rows(sql, (id_experiment, key))]


Condition = tuple[str, tuple[Any, ...]]
"""What follows a WHERE clause about `experiment_runs`, and its parameters."""


def pending_runs(
    transaction: Transaction, pending: Pending, id_experiment: str, most: int | None = None
) -> list[str]:
    """Return the ids of the pending runs of an experiment.

    The database subtracts the runs that have completed the step from all: without statistics, as
    after a large write, PostgreSQL would compare each run with each one in a NOT EXISTS.

    Args:
        transaction: Where.
        pending: Which runs.
        id_experiment: The experiment.
        most: How many runs are enough; all if None.
    """
    runs = "SELECT id_run FROM experiment_runs WHERE id_experiment = ?"
    rows = "SELECT id_run FROM experiment_run_steps WHERE id_experiment = ? AND step_key = ?"
    here, row = (id_experiment, pending.step), (id_experiment, step_key(pending.step))
    able = "" if pending.failed else " AND state <> 'failed'"
    limit = "" if most is None else f" LIMIT {most:d}"
    tried = transaction.dialect.same_text("step")
    sql = f"{runs} AND (step IS NULL OR {tried}){able} EXCEPT {rows} AND state = 'completed'"
    found = transaction.rows(sql + limit, (*here, *row))
    prints = () if pending.failed else _changed(transaction, pending, rows, row)
    if prints:
        marks = ", ".join("?" * len(prints))
        failed = f"{rows} AND state <> 'completed' AND fingerprint IN ({marks})"
        sql = f"{runs} AND {tried} AND state = 'failed' INTERSECT {failed}"
        found += transaction.rows(sql + limit, (*here, *row, *prints))
    return [id_run for (id_run,) in found]


def _changed(
    transaction: Transaction, pending: Pending, rows: str, row: tuple[str, str]
) -> list[str]:
    """Return the fingerprints of failures of what the step was before."""
    if pending.is_changed is None:
        return []
    sql = rows.replace("id_run", "DISTINCT fingerprint", 1)
    known = f"{sql} AND state <> 'completed' AND fingerprint IS NOT NULL"
    found = [print_ for (print_,) in transaction.rows(known, row)]
    return [print_ for print_ in found if pending.is_changed(print_)]
