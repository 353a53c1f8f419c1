"""Selection of runs to execute or to load; guards against the loss of runs that were not loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from mltraq_prefect.arguments import check_flags
from mltraq_prefect.codecs import buffers
from mltraq_prefect.errors import InvalidInput, StoreError
from mltraq_prefect.execution import RunFingerprints, as_steps, has_other_code
from mltraq_prefect.execution.fingerprints import split
from mltraq_prefect.execution.steps import StepFunction
from mltraq_prefect.model.ledger_entry import DONE, LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Seen, Store
from mltraq_prefect.storage.reading.pending import Pending
from mltraq_prefect.storage.tables.ledger_columns import steps_of
from mltraq_prefect.texts import counted

_logger = logging.getLogger("mltraq_prefect")


class Selection(NamedTuple):
    """The runs of an experiment, divided for an execution.

    Attributes:
        runs: Runs to execute.
        completed: Number of runs that have completed the steps, or were stopped in one.
        blocked: Runs in which a step of another execution has failed or is due.
        stopped: How many of the completed ones were stopped.
    """

    runs: list[Run]
    completed: int
    blocked: list[Run]
    stopped: int = 0

    def log(self, experiment: str) -> None:
        """Log which runs are not executed, and why."""
        if self.completed:
            _logger.info(
                "experiment %r: %s completed these steps and will not be executed; rerun=True "
                "executes these steps again",
                experiment,
                counted(self.completed, "run of the database has", "runs of the database have"),
            )
        self.warn_of_blocked(experiment)

    def warn_of_blocked(self, experiment: str) -> None:
        """Tell that runs are left out, if there are any."""
        if self.blocked:
            warn_of_blocked(experiment, len(self.blocked), self.blocked[0])


def warn_of_blocked(experiment: str, count: int, run: Run) -> None:
    """Tell that runs are left out.

    Args:
        experiment: Name of the experiment.
        count: How many there are.
        run: One of them.
    """
    _logger.warning(
        "experiment %r: left out: %s, of which another step has to complete first: for example "
        "step %r of run %s is %s; execute that step, alone or in front of these",
        experiment,
        counted(count, "run"),
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


def done_before(
    steps: Sequence[str], runs: Iterable[Run], entries: Mapping[str, LedgerEntry]
) -> dict[str, dict[str, str]]:
    """Return which of some steps runs have completed, with their fingerprints, by `id_run`.

    Args:
        steps: Names of the steps.
        runs: The runs; those that have completed none are left out.
        entries: What the database has of them.
    """
    listed = {run.id_run: entries[run.id_run].steps for run in runs if run.id_run in entries}
    found = {
        id_run: {name: done[name] for name in steps if name in done}
        for id_run, done in listed.items()
    }
    return {id_run: own for id_run, own in found.items() if own}


def refuse_outdated(
    experiment: str,
    runs: Iterable[Run],
    seen: Mapping[str, Seen],
    entries: Mapping[str, LedgerEntry],
) -> None:
    """Refuse to go on with fields that others have replaced since they were read.

    Args:
        experiment: Name of the experiment.
        runs: Its runs.
        seen: What the database held of those whose fields were read.
        entries: What it holds now.

    Raises:
        StoreError: Others have executed steps anew meanwhile.
    """
    outdated = [
        run
        for run in runs
        if (entry := entries.get(run.id_run)) is not None
        and (read := seen.get(run.id_run)) is not None
        and any(entry.steps.get(step) != was for step, was in steps_of(read.ledger.steps).items())
    ]
    if outdated:
        raise StoreError(
            f"experiment {experiment!r}: others have executed {len(outdated):,} of its runs, such "
            f"as {outdated[0].describe()}, again since the experiment was read, so that what is in "
            "memory is outdated; load it again"
        )


def refuse_otherwise(
    experiment: str,
    runs: Mapping[str, Run],
    entries: Mapping[str, LedgerEntry],
    steps: Sequence[str],
    prints: RunFingerprints,
) -> None:
    """Refuse what others have made of runs by other steps, kwargs or seeds, while they were ours.

    Args:
        experiment: Name of the experiment.
        runs: Its runs.
        entries: What the ledger says now of those that others may have executed.
        steps: Names of the steps of this execution.
        prints: Their fingerprints in each run.

    Raises:
        InvalidInput: There are such results.
    """
    other = 0
    for id_run, entry in entries.items():
        params, due = runs[id_run].params, due_steps(entry, steps)
        same = (prints.is_same(step, params, entry.steps.get(step)) for step in due)
        other += entry.state in DONE and not all(same)
    if other:
        raise InvalidInput(
            f"experiment {experiment!r}: others have executed {other:,} of its runs with other "
            "steps, kwargs or seed meanwhile; load it to see what they have made"
        )


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
    completed = stopped = 0
    for run in runs:
        entry = run.ledger
        if is_complete(run):
            completed += 1
            stopped += entry.state == "stopped"
        elif entry.step is None or entry.step in steps:
            selection.runs.append(run)
        else:
            selection.blocked.append(run)
    return selection._replace(completed=completed, stopped=stopped)


class NotLoaded(NamedTuple):
    """Parts of a stored experiment that were not loaded.

    Attributes:
        fields: Keys of fields of its runs.
        runs: Number of runs.
    """

    fields: Sequence[str]
    runs: int

    def warn_of_missed(self, experiment: str, runs: Iterable[Run]) -> None:
        """Tell of fields that steps have asked for in vain, though the database has them.

        Args:
            experiment: Its name.
            runs: Runs that were executed.
        """
        if not self.fields:
            return
        errors = (run.ledger.error for run in runs if run.ledger.state == "failed")
        told = {(error or "").rstrip().rpartition("\n")[2] for error in errors}
        for key in self.fields:
            missed = f"AttributeError: there is no {key!r} here", f"KeyError: {key!r}"
            if any(line.startswith(missed) for line in told):
                _logger.warning(
                    "experiment %r: field %r is in the database and was not loaded, so steps did "
                    "not find it; name it in the columns of session.load, or leave them out",
                    experiment,
                    key,
                )

    def refuse_replace(self, experiment: str, what: str) -> None:
        """Refuse to replace the stored experiment by one that was loaded in part.

        Args:
            experiment: Its name.
            what: The option that would replace it, as written in code.

        Raises:
            InvalidInput: It was loaded in part.
        """
        if missing := self._told():
            raise InvalidInput(
                f"experiment {experiment!r} was loaded in part: {what} would destroy {missing} of "
                'the database, not loaded here. Use if_exists="merge", which leaves them as they '
                "are, or load the experiment whole (session.load without columns, where and "
                "pending)"
            )

    def refuse_pickle(self, experiment: str) -> None:
        """Refuse to store a pickle of what was loaded in part: it would be taken for the whole.

        Args:
            experiment: Its name.

        Raises:
            InvalidInput: It was loaded in part.
        """
        if missing := self._told():
            raise InvalidInput(
                f"experiment {experiment!r} was loaded in part: a pickle of it would be without "
                f"{missing} of the database. Leave out store_pickle, or load the experiment whole "
                "(session.load without columns, where and pending)"
            )

    def _told(self) -> str:
        """Return what was not loaded, for a person; empty if that is nothing."""
        missing = []
        if self.fields:
            shown = ", ".join(map(repr, self.fields[:3])) + (", ..." if self.fields[3:] else "")
            missing.append(f"{counted(len(self.fields), 'field')} ({shown})")
        if self.runs:
            missing.append(counted(self.runs, "run"))
        return " and ".join(missing)


def refuse_deleted(store: Store, experiment: str, runs: Sequence[Run], part: str) -> None:
    """Refuse to take it for the truth that runs have nothing of what the database alone had.

    Args:
        store: The database.
        experiment: Name of the experiment.
        runs: Runs of it, of which the database gives nothing.
        part: What that is: their series, or their files.

    Raises:
        StoreError: One of them was deleted there.
    """
    listed = store.entries(experiment, [run.id_run for run in runs])
    for run in runs:
        if run.id_run not in listed:
            raise StoreError(
                f"experiment {experiment!r}, run {run.describe()}: its {part} would be in the "
                "database alone, and the run was deleted there; load the experiment again"
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
            'experiment %r: %s deleted here, but not in the database: if_exists="merge" '
            'adds and updates; if_exists="replace" leaves only what is here',
            experiment,
            counted(deleted, "run was", "runs were"),
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
    check_flags(failed=failed)
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

    return Pending(prepared.name, failed, is_changed=is_changed, code=split(now).code)
