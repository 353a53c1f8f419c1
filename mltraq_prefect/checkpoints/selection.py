"""Selection of runs to execute or to load; guards against the loss of runs that were not loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from mltraq_prefect.codecs import buffers
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import as_steps, has_other_code
from mltraq_prefect.execution.steps import StepFunction
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.pending import Pending

_logger = logging.getLogger("mltraq_prefect")


class Selection(NamedTuple):
    """The runs of an experiment, divided for an execution.

    Attributes:
        runs: Runs to execute.
        completed: Number of runs that have completed the steps.
        blocked: Runs in which a step of another execution has failed or is due.
    """

    runs: list[Run]
    completed: int
    blocked: list[Run]

    def log(self, experiment: str) -> None:
        """Log which runs are not executed, and why."""
        if self.completed:
            _logger.info(
                "experiment %r: %s runs of the database have completed these steps and are not "
                "executed; rerun=True executes them again",
                experiment,
                f"{self.completed:,}",
            )
        if self.blocked:
            run = self.blocked[0]
            _logger.warning(
                "experiment %r: %s runs are left out, as an earlier step has not completed: "
                "for example step %r of run %s is %s",
                experiment,
                f"{len(self.blocked):,}",
                run.ledger.step,
                run.describe(),
                run.ledger.state,
            )


def due_steps(entry: LedgerEntry, steps: Sequence[str]) -> Sequence[str]:
    """Return those of some steps that a run has completed when it is done.

    Args:
        entry: Its ledger entry; no step follows one that has stopped the run.
        steps: Names of the steps.
    """
    return [name for name in steps if name in entry.steps] if entry.state == "stopped" else steps


def select(
    runs: Iterable[Run], steps: Collection[str], is_complete: Callable[[Run], bool]
) -> Selection:
    """Divide runs into those that an execution executes and the others.

    Args:
        runs: The runs of the experiment.
        steps: Names of the steps of the execution.
        is_complete: Returns whether a run has completed these steps.
    """
    selection = Selection([], 0, [])
    completed = 0
    for run in runs:
        entry = run.ledger
        if is_complete(run):
            completed += 1
        elif entry.step is None or entry.step in steps:
            selection.runs.append(run)
        else:
            selection.blocked.append(run)
    return selection._replace(completed=completed)


class NotLoaded(NamedTuple):
    """Parts of a stored experiment that were not loaded.

    Attributes:
        fields: Keys of fields of its runs.
        runs: Number of runs.
    """

    fields: Sequence[str]
    runs: int

    def refuse_replace(self, experiment: str, what: str) -> None:
        """Refuse to replace the stored experiment by one that was loaded in part.

        Args:
            experiment: Its name.
            what: The option that would replace it, as written in code.

        Raises:
            InvalidInput: It was loaded in part.
        """
        missing = []
        if self.fields:
            shown = ", ".join(map(repr, self.fields[:3])) + (", ..." if self.fields[3:] else "")
            missing.append(f"{len(self.fields):,} fields ({shown})")
        if self.runs:
            missing.append(f"{self.runs:,} runs")
        if missing:
            raise InvalidInput(
                f"experiment {experiment!r} was loaded in part: {what} would destroy "
                f"{' and '.join(missing)} of the database that are not here. Use "
                f'if_exists="merge", which leaves them as they are, or load the experiment whole '
                "(session.load without columns and pending)"
            )


def warn_of_deleted(experiment: str, known: Iterable[str], runs: Collection[str]) -> None:
    """Warn that a merge deletes no runs, if runs were deleted in memory.

    Args:
        experiment: Its name.
        known: Ids of the runs that were read or written.
        runs: Ids of the present runs.
    """
    deleted = sum(id_run not in runs for id_run in known)
    if deleted:
        _logger.warning(
            'experiment %r: %s runs were deleted here and stay in the database: if_exists="merge" '
            'adds and updates; if_exists="replace" leaves only what is here',
            experiment,
            f"{deleted:,}",
        )


def as_pending(step: str | StepFunction | None, failed: bool) -> Pending | None:
    """Return which runs the arguments `pending` and `failed` select; None selects all.

    Args:
        step: The step that the runs have yet to complete, or its name.
        failed: Whether runs that have failed in it are selected too.

    Raises:
        InvalidInput: The step is neither a name nor a function of one run; or `failed` is given
            without a step.
    """
    if not isinstance(failed, bool):
        raise InvalidInput(f"failed is {failed!r}; use True or False")
    if step is None:
        if failed:
            raise InvalidInput("failed=True needs the step in which the runs failed: pending=...")
        return None
    if isinstance(step, str):
        return Pending(step, failed, is_name=True)
    if not callable(step):
        raise InvalidInput(f"pending is {step!r}; give a step, a function of one run, or its name")
    (prepared,) = as_steps(step, {}, 0, buffers=buffers)
    now = prepared.fingerprint

    def is_changed(before: str) -> bool:
        return has_other_code(before, now)

    return Pending(prepared.name, failed, is_changed=is_changed)
