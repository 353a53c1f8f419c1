"""Destination of results as they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mltraq_prefect.errors import RunsMissing
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.log_names import log_name
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.series import LoggedRows, Rows
from mltraq_prefect.model.spool import FileEntry

if TYPE_CHECKING:
    from mltraq_prefect.execution import RunFingerprints, Step


def start(runs: Iterable[Run], steps: Iterable[Step], prints: RunFingerprints) -> None:
    """Record in the ledger entries of runs that an execution of steps begins.

    If a step has changed, the results of later steps no longer count.
    """
    names = [step.name for step in steps]
    for run in runs:
        done = run.ledger.steps
        before = [name for name in names if name in done] if done else ()
        changed = [name for name in before if not prints.is_same(name, run.params, done[name])]
        run.ledger.expect(names, changed)


def refuse_missing(experiment: str, runs: Sequence[Run], most_failures: int | None) -> None:
    """Refuse to end an execution in which some runs have no outcome.

    Args:
        experiment: Name of the experiment.
        runs: The runs that were to be executed.
        most_failures: Number of failures at which the execution stopped; None means never.

    Raises:
        RunsMissing: Some runs have neither completed nor failed.
    """
    missing = [run for run in runs if run.ledger.state == "pending"]
    failed = sum(run.ledger.state == "failed" for run in runs)
    if missing and (most_failures is None or failed < most_failures):
        raise RunsMissing(experiment, len(missing), len(runs), missing[0].describe())


def take_files(run: Run, result: Run) -> None:
    """Take over the files of an executed run.

    What the run had before is what it was: a worker does not know how to read it here.
    """
    if not result.file_changes():
        return
    own, now = run.own_files.entries, result.own_files.entries
    changed = {
        name: entry
        for name, entry in now.items()
        if name not in own or _sendable(own[name]) != entry
    }
    if changed:
        run.own_files.put(changed)


def take_logs(run: Run, result: Run, steps: Iterable[str]) -> None:
    """Take over the logs of a run that has failed, and nothing else of its files."""
    logs = {name: result.own_files.entries.get(name) for name in map(log_name, steps)}
    if found := {name: entry for name, entry in logs.items() if entry is not None}:
        run.own_files.put(found)


def _sendable(entry: FileEntry | None) -> FileEntry | None:
    return None if entry is None else entry.sendable()


class Results:
    """Copies the results of executed runs, perhaps of other processes, into an experiment.

    It is used as a context manager around an execution.

    Args:
        runs: The runs of the experiment.
        steps: Names of the steps.
        prints: Fingerprints of the steps in each run.
        have_logged: Whether runs may have rows of earlier executions.
        files: Where steps put files.
        id_execution: Id of the execution, if it is noted.

    Attributes:
        files: As given.
    """

    def __init__(
        self,
        runs: Runs,
        steps: Sequence[str],
        prints: RunFingerprints,
        *,
        have_logged: bool,
        files: Desk,
        id_execution: str | None = None,
    ) -> None:
        self.files = files
        self._runs = runs
        self._names = steps
        self._prints = prints
        self._have_logged = have_logged
        self._id_execution = id_execution
        self._logging: dict[str, set[str]] = {}

    def log(self, rows: Sequence[LoggedRows], *, soon: bool = False) -> None:  # noqa: ARG002
        """Take rows that runs have logged."""
        for logged in rows:
            self._logging.setdefault(logged.id_run, set()).add(logged.step)
            self._runs[logged.id_run].own_rows.put(logged.step, logged.rows)

    def silent(self, result: Run) -> list[LoggedRows]:
        """Return what replaces rows of earlier executions, by steps that have logged none now.

        Args:
            result: A run that has ended.
        """
        logging = self._logging.pop(result.id_run, ())
        if not self._have_logged:
            return []
        silent = [name for name in self._names if name in result.ledger.executed]
        return [LoggedRows(result.id_run, name, Rows(0)) for name in silent if name not in logging]

    def collect(self, results: Iterable[Run]) -> None:
        """Take runs that have completed or failed."""
        for result in results:
            run = self._runs[result.id_run]
            result.ledger.stored = run.ledger.stored
            run.fields, run.locals, run.ledger = result.fields, result.locals, result.ledger
            take_files(run, result)
            self._stamp(run)
            for logged in self.silent(result):
                run.own_rows.put(logged.step, logged.rows)

    def _stamp(self, run: Run) -> None:
        """Say in the ledger what was executed, and in which execution."""
        self._prints.stamp(run.ledger, run.params)
        run.ledger.id_execution = self._id_execution
        for name in self._names:
            if name in run.ledger.executed:
                run.ledger.executed[name].id_execution = self._id_execution

    def name_flow_run(self, flow_run_id: str, runs: Sequence[str]) -> None:
        """Take the flow run of runs, by id, that have ended before there was one."""

    def tick(self) -> None:
        """Do periodic work; called several times a second."""

    def flush(self) -> None:
        """Do the remaining work; called at the end, even after an exception."""

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.flush()
