"""Failures of an execution: raised at its end, or kept to be raised later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mltraq_prefect.errors import RunsFailed
from mltraq_prefect.execution.failures import runs_failed
from mltraq_prefect.execution.results import refuse_missing
from mltraq_prefect.execution.tracebacks import begin_at_users_code
from mltraq_prefect.model.run import Run

if TYPE_CHECKING:
    from mltraq_prefect.execution.options import ExecutionOptions


class KeptFailures:
    """Failures of an experiment that have not been raised yet.

    Args:
        experiment: Name of the experiment.
    """

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._unraised: dict[str, Run] = {}

    def rename(self, experiment: str) -> None:
        """Tell of failures by another name of the experiment."""
        self._experiment = experiment

    def settle(
        self, runs: Sequence[Run], options: ExecutionOptions, cause: BaseException | None
    ) -> None:
        """End an execution.

        Args:
            runs: The runs that were to be executed.
            options: Options of the execution; ``on_error="keep"`` leaves it to `take`.
            cause: The exception of the first failed run, or None.

        Raises:
            RunsMissing: Some runs have no outcome.
            RunsFailed: Some runs have failed.
        """
        refuse_missing(self._experiment, runs, options.failure_limit)
        if options.on_error == "keep":
            self._unraised.update((run.id_run, run) for run in runs)
            return
        for run in runs:
            self._unraised.pop(run.id_run, None)
        if (error := runs_failed(self._experiment, runs)) is not None:
            raise error from begin_at_users_code(cause)

    def take(self) -> RunsFailed | None:
        """Return the error about the failures that were kept, and drop them; None without any."""
        executed, self._unraised = self._unraised, {}
        return runs_failed(self._experiment, executed.values())

    def forget(self) -> None:
        """Drop the failures that were kept."""
        self._unraised = {}
