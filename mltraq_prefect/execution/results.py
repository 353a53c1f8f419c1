"""Destination of results as they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mltraq_prefect.errors import RunsMissing
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.series import LoggedRows

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


class Results:
    """Copies the results of executed runs, perhaps of other processes, into an experiment.

    It is used as a context manager around an execution.

    Args:
        runs: The runs of the experiment.
        prints: Fingerprints of the steps in each run.
    """

    def __init__(self, runs: Runs, prints: RunFingerprints) -> None:
        self._runs = runs
        self._prints = prints

    def log(self, rows: Iterable[LoggedRows]) -> None:
        """Take rows that runs have logged."""
        for logged in rows:
            self._runs[logged.id_run].own_rows.put(logged.step, logged.rows)

    def collect(self, results: Iterable[Run]) -> None:
        """Take runs that have completed or failed."""
        for result in results:
            run = self._runs[result.id_run]
            result.ledger.stored = run.ledger.stored
            run.fields, run.locals, run.ledger = result.fields, result.locals, result.ledger
            self._prints.stamp(run.ledger, run.params)

    def tick(self) -> None:
        """Do periodic work; called several times a second."""

    def flush(self) -> None:
        """Do the remaining work; called at the end, even after an exception."""

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.flush()
