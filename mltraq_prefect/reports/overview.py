"""Overviews of an experiment and its runs, as frames and series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from mltraq_prefect.model.run import Run

if TYPE_CHECKING:
    import pandas as pd

PageUrl = Callable[[Literal["flow-run", "task-run"], str | None], str | None]
"""Returns the page of a kind of object from its id, if there is one."""


def links_of(runs: Iterable[Run], page_url: PageUrl) -> pd.DataFrame:
    """Return for each run and step the pages of its flow run and task run.

    Args:
        runs: The runs.
        page_url: Makes URLs of ``flow-run`` and ``task-run``.
    """
    import pandas as pd

    rows = [
        {
            "id_run": run.id_run,
            "run": run.describe(),
            "step": step,
            "flow_run": page_url("flow-run", entry.flow_run_id),
            "task_run": page_url("task-run", entry.task_run_id),
        }
        for run in runs
        for step, entry in run.ledger.executions.items() or ((None, run.ledger),)
    ]
    columns = ["id_run", "run", "step", "flow_run", "task_run"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def own_fields_of(name: str, id_experiment: str, fields: Mapping[str, Any]) -> pd.DataFrame:
    """Return an experiment's own fields as a frame of one row, of dtype object."""
    import pandas as pd

    values = {"id_experiment": id_experiment, "name": name, **fields}
    return pd.DataFrame({key: pd.Series([value], dtype=object) for key, value in values.items()})


def info_of(
    name: str,
    id_experiment: str,
    fields: Mapping[str, Any],
    runs: Collection[Run],
    table: str,
    revision: int | None,
    size: int | None,
) -> pd.Series[Any]:
    """Return a summary of an experiment.

    Args:
        name: Name of the experiment.
        id_experiment: Its id.
        fields: Its own fields.
        runs: Its runs.
        table: Name of the table of its runs.
        revision: How often it was written; None if never.
        size: Of the table and of large values, in bytes; None if unknown.
    """
    import pandas as pd

    return pd.Series(
        {
            "name": name,
            "id_experiment": id_experiment,
            "fields": list(fields),
            **counts_of(runs),
            "table_name": table,
            "revision": revision,
            "bytes": size,
        }
    )


def counts_of(runs: Collection[Run]) -> dict[str, Any]:
    """Return number, params, fields, steps and states of runs."""
    return {
        "run_count": len(runs),
        "run_params": keys_of(run.params for run in runs),
        "run_fields": keys_of(run.fields for run in runs),
        "run_steps": keys_of(run.ledger.steps for run in runs),
        "run_states": dict(Counter(run.ledger.state for run in runs)),
    }


def keys_of(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the distinct keys of mappings in the order in which they first appear."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))
