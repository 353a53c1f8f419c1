"""What is known of the executions of an experiment: of those made here, and of stored ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mltraq_prefect.model.run import Run
from mltraq_prefect.provenance.facts import Facts
from mltraq_prefect.storage import Store


def everything(store: Store, id_experiment: str, here: Mapping[str, Facts]) -> list[Facts]:
    """Return what is known here, by id, and in the database, the earliest first."""
    stored = store.known_executions(id_experiment)
    found = {facts.id_execution: facts for facts in (*stored, *here.values())}
    return sorted(found.values(), key=lambda facts: facts.started_at)


def find(
    store: Store, id_experiment: str, here: Mapping[str, Facts], id_execution: str
) -> Facts | None:
    """Return what is known of an execution with large kwargs and its code, or None."""
    if id_execution in here:
        return here[id_execution]
    found = store.known_executions(id_experiment, [id_execution], whole=True)
    return found[0] if found else None


def load(store: Store, id_experiment: str, here: dict[str, Facts], runs: Iterable[Run]) -> None:
    """Read what is known of the executions that runs refer to, unless it is here."""
    used = {
        entry.id_execution
        for run in runs
        for entry in (run.ledger, *run.ledger.executions.values())
        if entry.id_execution is not None
    }
    missing = sorted(used - here.keys())
    for facts in store.known_executions(id_experiment, missing, whole=True):
        here[facts.id_execution] = facts
