"""Destination of results as they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.log_names import log_name
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.series import LoggedRows, Rows
from mltraq_prefect.model.spool import FileEntry

if TYPE_CHECKING:
    from mltraq_prefect.execution import RunFingerprints, Step
    from mltraq_prefect.execution.fanout.executor import WrittenElsewhere


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
    """Take over the logs of a run that has failed, and drop what else it has made of its files."""
    made = result.own_files.entries
    logs = {name: made.get(name) for name in map(log_name, steps)}
    if found := {name: entry for name, entry in logs.items() if entry is not None}:
        run.own_files.put(found)
    kept = {entry.spooled for entry in run.own_files.entries.values() if entry}
    for entry in filter(None, made.values()):
        if entry.spooled and entry.spooled not in kept:
            Path(entry.spooled).unlink(missing_ok=True)


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
        name_flow_run: Takes the flow run of runs, by id, that have ended before there was one, and
            the id of the execution.

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
        name_flow_run: Callable[[str, Sequence[str], str | None], None] | None = None,
    ) -> None:
        self.files = files
        self._name_flow_run = name_flow_run
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

    def flush_rows(self) -> bool:
        """Write the rows that were taken; return whether none was refused."""
        return True

    def silent(self, result: Run) -> list[LoggedRows]:
        """Return what replaces rows of earlier executions, by steps that have logged none now.

        Args:
            result: A run that has ended.
        """
        logging = self._logging.pop(result.id_run, ())
        if not self._have_logged:
            return []
        tried = [name for name, entry in result.ledger.executed.items() if not entry.is_untried]
        silent = [name for name in self._names if name in tried and name not in logging]
        return [LoggedRows(result.id_run, name, Rows(0)) for name in silent]

    def has_ended(self, id_run: str) -> bool:
        """Return whether a run has come that was executed."""
        run = self._runs.get(id_run)  # of a streamed grid, it may have gone
        return run is None or run.ledger.state != "pending"

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
        run.ledger.note_untried(self._names)

    @property
    def elsewhere(self) -> WrittenElsewhere | None:
        """What has batches written where they are executed: all come back, here."""
        return None

    def name_flow_run(self, flow_run_id: str, runs: Sequence[str]) -> None:
        """Take the flow run of runs, by id, that have ended before there was one."""
        if self._name_flow_run is not None:
            self._name_flow_run(flow_run_id, runs, self._id_execution)

    def tick(self) -> None:
        """Do periodic work; called several times a second."""

    def flush(self) -> None:
        """Do the remaining work; called at the end, even after an exception."""

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.flush()
