"""What is asked of where an experiment's results come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.experiment.parts import Parts
from mltraq_prefect.model.run import Run
from mltraq_prefect.reports.provenance.code import as_text, of_fingerprint, sources_in
from mltraq_prefect.reports.provenance.execution import Execution, frame_of

if TYPE_CHECKING:
    import pandas as pd


class Origins(Parts):
    """The part of `Experiment` that says where its results come from."""

    @property
    def origin(self) -> StoredState:
        """What knows where the results of its runs come from; for the package itself."""
        return self._state

    @property
    def executions(self) -> pd.DataFrame:
        """What is known of each call of `execute`, the earliest first.

        The index is `id_execution`, to which runs refer: the commit that has made the numbers of a
        run is ``experiment.executions.git_commit[run.ledger.id_execution]``. Columns: `started_at`
        (UTC), `steps` (names), `kwargs`, `seed`, `git_commit`, `git_branch`, `git_dirty`,
        `git_remote`, `script`, `command`, `user_name`, `host`, `python`, `platform`, `cpu`, `gpu`,
        `flow`, `flow_run_id`, `deployment`, `deployment_id`, `versions`. What is not known is None.

        Raises:
            CorruptData: A row in the database is not what was written.
            StorageUnavailable: The database cannot be reached.
        """
        return frame_of(self._state.all_executions())

    def execution(self, id_execution: str) -> Execution:
        """Return what is known of one call of `execute`, with kwargs and code.

        Args:
            id_execution: Its id, or how that begins.

        Raises:
            InvalidInput: No execution of the experiment, or more than one, has such an id.
            CorruptData: What is in the database is not what was written.
        """
        found = [
            facts.id_execution
            for facts in self._state.all_executions()
            if facts.id_execution.startswith(id_execution)
        ]
        execution = self._state.execution(found[0]) if len(found) == 1 else None
        if execution is None:
            number = "no" if not found else f"{len(found):,}"
            raise InvalidInput(
                f"experiment {self.name!r} has {number} execution whose id begins with "
                f"{id_execution!r}; experiment.executions lists them"
            )
        return execution

    def source(self, step: str, *, run: Run | str | None = None) -> str:
        """Return the source of a step, and of what it calls in the user's own code.

        It is the code as it was executed, whatever its files hold now.

        Args:
            step: Name of the step.
            run: The run, or its id, whose results the code has made. If None, the latest code
                of the step is meant.

        Returns:
            A text with each function below its name. It is empty if the sources were not known,
            as those of code that was typed into Python itself.

        Raises:
            InvalidInput: The step was not executed.
        """
        if run is not None:
            own = self.runs[run] if isinstance(run, str) else run
            entry = own.ledger.executions.get(step)
            prints = [own.ledger.steps.get(step, entry.fingerprint if entry else None)]
        else:
            prints = [own.steps[step] for own in self._state.all_executions() if step in own.steps]
            prints = prints or [
                print_
                for own in self.runs.values()
                if (print_ := own.ledger.steps.get(step)) is not None
            ]
        if not prints or prints[-1] is None:
            raise InvalidInput(
                f"experiment {self.name!r}: step {step!r} was not executed"
                f"{'' if run is None else ' on this run'}; steps that were: "
                f"{', '.join(self._executed()) or 'none'}"
            )
        return as_text(sources_in(of_fingerprint(prints[-1], self._state.fingerprints)))

    def _executed(self) -> list[str]:
        """Return the names of the steps that were executed."""
        steps = [step for run in self.runs.values() for step in run.ledger.steps]
        known = [step for facts in self._state.all_executions() for step in facts.steps]
        return list(dict.fromkeys((*steps, *known)))
