"""Event of a persist, which can trigger a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from prefect.events import emit_event

PERSISTED = "mltraq.experiment.persisted"
"""Name of the event."""


@dataclass(frozen=True, slots=True)
class Persisted:
    """A write that was committed.

    Attributes:
        experiment: Name of the experiment.
        id_experiment: Its id in the database.
        table: The table of its runs.
        mode: How it was written: ``fail``, ``replace`` or ``merge``.
        runs: Number of runs that were inserted or changed.
        columns: Keys of the fields that were written.
        revision: How often the experiment has been written.
        steps: Steps whose results were written for the first time.
    """

    experiment: str
    id_experiment: str
    table: str
    mode: str
    runs: int
    columns: Sequence[str]
    revision: int
    steps: Sequence[str]


def emit_persisted(written: Persisted) -> None:
    """Emit the event of a write; Prefect sends it in the background, and may lose it."""
    emit_event(
        PERSISTED,
        resource=resource(written),
        payload={
            "experiment": written.experiment,
            "id_experiment": written.id_experiment,
            "table": written.table,
            "mode": written.mode,
            "runs": written.runs,
            "columns": list(written.columns),
            "revision": written.revision,
        },
    )


def resource(written: Persisted) -> dict[str, str]:
    """Return the resource of the event.

    Its id is the percent-encoded name of the experiment: so a pattern of a trigger matches one
    experiment, whatever characters are in the name. Each step has its own label, as a pattern for
    a list of steps would match parts of their names.
    """
    labels = {f"mltraq.step.{step}": "completed" for step in written.steps}
    return {
        "prefect.resource.id": f"mltraq.experiment.{quote(written.experiment, safe='')}",
        "prefect.resource.name": written.experiment,
        **labels,
    }
