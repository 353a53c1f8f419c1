"""Writing an experiment to its database, as a task run with an event and a report in a flow."""

from __future__ import annotations

from collections.abc import Sequence

from mltraq_prefect.checkpoints.persist_options import check_report
from mltraq_prefect.checkpoints.signing import signing_key
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.orchestration.current import in_task, inside_run
from mltraq_prefect.storage import Mode, Written


def persist(
    state: StoredState, mode: Mode, report: bool | Sequence[str], *, store_pickle: bool
) -> None:
    """Write an experiment: as a task run if this code runs in a flow.

    Args:
        state: What the database knows of the experiment.
        mode: What to do if the name is taken.
        report: Whether to make the summary, or the fields to show in it.
        store_pickle: Whether to store a signed pickle too.

    Raises:
        InvalidInput: The experiment was loaded in part and would replace the whole one; or no run
            has a field of the report.
    """
    state.check_persist(mode, store_pickle=store_pickle)
    if not isinstance(report, bool):
        check_report(report, state.content, state)

    def body() -> Written:
        written = state.write(mode, signing_key if store_pickle else None)
        announce_written(state, written, mode, report)
        return written

    with state.persisting:
        state.settle(in_task("persist", state.name, body), mode)


def announce_written(
    state: StoredState, written: Written, mode: Mode, report: bool | Sequence[str]
) -> None:
    """Emit the event of a persist and make the summary, if this code runs in a flow.

    Args:
        state: What the database knows of the experiment.
        written: What the persist did.
        mode: Of the persist.
        report: Whether to make the summary, or the fields to show in it.
    """
    total, experiment = state.to_announce(written), state.content
    if not total.changed or not inside_run():
        return
    from mltraq_prefect.orchestration.api import Persisted, announce

    persisted = Persisted(
        experiment=experiment.name,
        id_experiment=total.id_experiment,
        table=total.table,
        mode=mode,
        runs=min(total.runs, state.run_count),  # checkpoints write a run more than once
        columns=total.columns,
        revision=total.revision,
        steps=total.steps,
    )
    announce(persisted, lambda most: state.store.results(experiment.name, last=most), report)
