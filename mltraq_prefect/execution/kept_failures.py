"""Failures of an execution: raised at its end, or kept to be raised later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mltraq_prefect.errors import RunsFailed
from mltraq_prefect.execution.failures import Tally, refuse_missing
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
        self._streamed = Tally()

    def rename(self, experiment: str) -> None:
        """Tell of failures by another name of the experiment."""
        self._experiment = experiment

    def settle(
        self,
        runs: Sequence[Run],
        options: ExecutionOptions,
        cause: BaseException | None,
        streamed: Tally | None = None,
    ) -> None:
        """End an execution.

        Args:
            runs: The runs that were to be executed.
            options: Options of the execution; ``on_error="keep"`` leaves it to `take`.
            cause: The exception of the first failed run, or None.
            streamed: What became of the runs, if they are not in memory any more.

        Raises:
            RunsMissing: Some runs have no outcome.
            RunsFailed: Some runs have failed.
        """
        tally = Tally(runs) if streamed is None else streamed
        refuse_missing(self._experiment, tally, options.failure_limit)
        is_kept = options.on_error == "keep"
        error = None if is_kept else tally.error(self._experiment)
        if streamed is not None:
            kept = streamed if is_kept else Tally()
            kept.keep(self._streamed, streamed.steps)
            self._streamed = kept
        if is_kept:
            self._unraised.update((run.id_run, run) for run in runs)
            return
        for run in runs:
            self._unraised.pop(run.id_run, None)
        if error is not None:
            raise error from begin_at_users_code(cause)

    def take(self) -> RunsFailed | None:
        """Return the error about the failures that were kept, and drop them; None without any."""
        executed, streamed = self._unraised, self._streamed
        self.forget()
        return (Tally(executed.values()) if executed else streamed).error(self._experiment)

    def forget(self) -> None:
        """Drop the failures that were kept."""
        self._unraised, self._streamed = {}, Tally()
