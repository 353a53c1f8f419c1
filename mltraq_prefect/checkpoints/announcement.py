"""What a persist tells Prefect, if it was in a flow."""

from __future__ import annotations

from collections.abc import Sequence

from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.orchestration.current import inside_run
from mltraq_prefect.storage import Mode, Written


def announce_written(
    state: StoredState, written: Written, mode: Mode, report: bool | Sequence[str]
) -> None:
    """Emit the event of a persist and make the summary of the experiment.

    Args:
        state: What the database knows of the experiment.
        written: What the persist did.
        mode: Of the persist.
        report: Whether to make the summary, or the fields to show in it.
    """
    told, experiment = state.to_announce(written), state.content
    if not told.changed or not inside_run():
        return
    from mltraq_prefect.orchestration import Persisted, announce

    persisted = Persisted(
        experiment=experiment.name,
        id_experiment=told.id_experiment,
        table=told.table,
        mode=mode,
        runs=min(told.runs, len(experiment.runs)),  # checkpoints write a run more than once
        columns=told.columns,
        revision=told.revision,
        steps=told.steps,
    )
    announce(persisted, lambda most: state.store.numbers(experiment.name, most_runs=most), report)
