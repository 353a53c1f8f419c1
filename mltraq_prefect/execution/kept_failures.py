"""Failures of an execution: raised at its end, or kept for later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mltraq_prefect.execution.failures import runs_failed
from mltraq_prefect.execution.results import refuse_missing
from mltraq_prefect.model.run import Run

if TYPE_CHECKING:
    from mltraq_prefect.execution.options import ExecutionOptions


class KeptFailures:
    """Failures of an experiment's runs of which nobody has been told yet.

    Args:
        experiment: Its name.
    """

    def __init__(self, experiment: str) -> None:
        self._experiment = experiment
        self._untold: dict[str, Run] = {}

    def settle(
        self, runs: Sequence[Run], options: ExecutionOptions, cause: BaseException | None
    ) -> None:
        """End an execution.

        Args:
            runs: Those that were to be executed.
            options: Of the execution; they may leave it to `tell` to raise.
            cause: What a step raised.

        Raises:
            RunsMissing: Some runs have not come back.
            RunsFailed: Some have failed.
        """
        refuse_missing(self._experiment, runs, options.failure_limit)
        if options.on_error == "keep":
            self._untold.update((run.id_run, run) for run in runs)
            return
        for run in runs:
            self._untold.pop(run.id_run, None)
        self._raise(runs, cause)

    def tell(self) -> None:
        """Raise for failures that were kept; once.

        Raises:
            RunsFailed: There are such failures.
        """
        executed, self._untold = self._untold, {}
        self._raise(executed.values())

    def forget(self) -> None:
        """Never tell of what was kept until now."""
        self._untold = {}

    def _raise(self, runs: Iterable[Run], cause: BaseException | None = None) -> None:
        if (error := runs_failed(self._experiment, runs)) is not None:
            raise error from cause
