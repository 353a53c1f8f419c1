"""Which runs have yet to complete a step: a condition for the database, answered by its indexes."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage import run_steps, standings
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.standings import Standing
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
    """Return the ids of the pending runs of an experiment; an index leads to each.

    Args:
        transaction: Where.
        pending: Which runs.
        id_experiment: The experiment.
        most: How many runs are enough; all if None.
    """
    able: list[Standing] = []
    failed: list[Standing] = []
    for standing in standings.find(transaction, id_experiment):
        is_over = pending.step in standing.steps or standing.state == "stopped"
        if is_over or standing.step not in (None, pending.step):
            continue
        has_failed = standing.state == "failed" and not pending.failed
        (failed if has_failed else able).append(standing)
    found: list[str] = []
    for standing in able:
        if most is None or len(found) < most:
            sql = "SELECT id_run FROM experiment_runs WHERE id_experiment = ? AND"
            rows = standings.rows(transaction, sql, (id_experiment,), standing.places(), most)
            found += [id_run for (id_run,) in rows]
    if failed and (is_changed := pending.is_changed) is not None:
        for standing in failed:
            found += _changed(transaction, is_changed, (id_experiment, standing, pending.step))
    return found


def _changed(
    transaction: Transaction,
    is_changed: Callable[[str], bool],
    chosen: tuple[str, Standing, str],
) -> list[str]:
    """Return the failed runs of a standing that have failed in what their step was before.

    Args:
        transaction: Where.
        is_changed: Whether the step is another one than that of a fingerprint.
        chosen: The experiment, the standing and the step.
    """
    id_experiment, standing, step = chosen
    sql = (
        "SELECT id_run, fingerprint FROM experiment_run_steps "
        "WHERE id_experiment = ? AND step_key = ? AND state = 'failed' "
        "AND fingerprint IS NOT NULL AND"
    )
    own = (id_experiment, step_key(step))
    failed = standings.rows(transaction, sql, own, standing.places())
    changed = set(filter(is_changed, dict.fromkeys(fingerprint for _, fingerprint in failed)))
    return [id_run for id_run, fingerprint in failed if fingerprint in changed]
