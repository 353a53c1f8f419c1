"""Which runs have yet to complete a step: a condition for the database, answered by its indexes."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.records import FingerprintParts
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import run_steps, standings
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.standings import Places, Standing
from mltraq_prefect.storage.values.names import step_key
from mltraq_prefect.texts import counted

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
        code: Digest of its code, the first one in its fingerprints; empty if that is not known.
    """

    step: str
    failed: bool = False
    is_name: bool = False
    is_changed: Callable[[str], bool] | None = None
    code: str = ""


def check_name(
    transaction: Transaction, pending: Pending, entry: Entry, known: Sequence[Standing]
) -> None:
    """Doubt the name of a step that no run of an experiment has ever tried.

    A step is new once, so a name that resembles no other one is only told of in the log.

    Args:
        transaction: Where.
        pending: The step.
        entry: The experiment.
        known: Its standings, most of which say without a look at steps that all is well.

    Raises:
        InvalidInput: It is nearly the name of a step that runs have tried.
    """
    if not pending.is_name or any(pending.step in one.steps for one in known):
        return
    steps = run_steps.names(transaction, entry.id_experiment)
    if not steps or pending.step in steps:
        return
    told = f"no run of experiment {entry.name!r} has tried a step {pending.step!r}"
    listed = ", ".join(map(repr, steps))
    close = difflib.get_close_matches(pending.step, steps, n=1, cutoff=0.8)
    if close and close[0].rstrip(_VERSION_CHARACTERS) != pending.step.rstrip(_VERSION_CHARACTERS):
        raise InvalidInput(
            f"pending: {told}; did you mean {close[0]!r}? Known: {listed}. If the step is new, "
            "give the function itself instead of its name"
        )
    _logger.warning("pending: %s yet; known: %s", told, listed)


def warn_of_other_code(
    transaction: Transaction,
    pending: Pending,
    entry: Entry,
    prints: Mapping[str, FingerprintParts],
) -> None:
    """Tell of runs that are not pending, though the step that they have completed was another.

    Args:
        transaction: Where.
        pending: The step.
        entry: The experiment.
        prints: What its fingerprints were made of; says without a look at runs that all is well.
    """
    other = (digest for digest, of in prints.items() if of.step == pending.step)
    if pending.is_changed is None or not any(digest != pending.code for digest in other):
        return
    sql = (
        "SELECT fingerprint, count(*) FROM experiment_run_steps WHERE id_experiment = ? "
        "AND step_key = ? AND state = 'completed' AND fingerprint IS NOT NULL GROUP BY fingerprint"
    )
    counts = transaction.rows(sql, (entry.id_experiment, step_key(pending.step)))
    if runs := sum(count for print_, count in counts if pending.is_changed(print_)):
        own = f"of experiment {entry.name!r}"
        _logger.warning(
            "pending: %s completed step %r in other code than it has now, and will not be read; "
            "load without pending, and execute the step, to do that again",
            counted(runs, f"run {own} has", f"runs {own} have"),
            pending.step,
        )


class PendingRuns:
    """The pending runs of an experiment; an index leads to each.

    Args:
        transaction: Where.
        pending: Which runs.
        id_experiment: The experiment.
        known: Its standings.
    """

    def __init__(
        self,
        transaction: Transaction,
        pending: Pending,
        id_experiment: str,
        known: Sequence[Standing],
    ) -> None:
        self._transaction, self._pending, self._id = transaction, pending, id_experiment
        self._able: list[Standing] = []
        self._failed: list[Standing] = []
        for standing in known:
            is_over = pending.step in standing.steps or standing.state == "stopped"
            if is_over or standing.step not in (None, pending.step):
                continue
            has_failed = standing.state == "failed" and not pending.failed
            (self._failed if has_failed else self._able).append(standing)

    @cached_property
    def places(self) -> Places:
        """Where those are that all runs of a standing are among; a run between may be gone."""
        return standings.places(self._transaction, self._id, self._able) if self._able else []

    @cached_property
    def changed(self) -> list[str]:
        """The ids of those that have failed in what their step was before."""
        is_changed = self._pending.is_changed
        if is_changed is None or not self._failed:
            return []
        sql = (
            "SELECT id_run, fingerprint FROM experiment_run_steps "
            "WHERE id_experiment = ? AND step_key = ? AND state = 'failed' "
            "AND fingerprint IS NOT NULL AND"
        )
        own = (self._id, step_key(self._pending.step))
        places = standings.places(self._transaction, self._id, self._failed)
        failed = standings.rows(self._transaction, sql, own, places)
        changed = set(filter(is_changed, dict.fromkeys(fingerprint for _, fingerprint in failed)))
        return [id_run for id_run, fingerprint in failed if fingerprint in changed]

    def ids(self, most: int | None = None) -> list[str]:
        """Return the ids of all.

        Args:
            most: How many are enough; all if None.
        """
        sql = "SELECT id_run FROM experiment_runs WHERE id_experiment = ? AND"
        rows = standings.rows(self._transaction, sql, (self._id,), self.places, most)
        found = [id_run for (id_run,) in rows]
        return found if most is not None and len(found) >= most else [*found, *self.changed]
