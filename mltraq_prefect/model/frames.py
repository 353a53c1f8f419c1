"""Runs as a frame: what they track, and beside it their params and what the ledger says."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.arguments import check_flags

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.model.run import Run

Columns = Mapping[str, Sequence[Any]]
"""Columns of a value for each run, by key."""

LEDGER_SHOWN = ("state", "duration_s", "started_at", "error")
"""What frames and views show of the ledger."""

_WITHOUT_VALUES = dict(
    zip(LEDGER_SHOWN, ("str", "float64", "datetime64[us, UTC]", "str"), strict=True)
)
"""Dtypes of those columns if they have no value."""


def frame_of(runs: Iterable[Run], *, params: bool = False, ledger: bool = False) -> pd.DataFrame:
    """Return a frame with `id_run` and the fields, one row a run; see `Runs.df`."""
    check_flags(params=params, ledger=ledger)
    runs = list(runs)
    own = columns_of([run.params for run in runs]) if params else {}
    entries = [run.ledger for run in runs] if ledger else []
    facts = {name: [getattr(entry, name) for entry in entries] for name in LEDGER_SHOWN}
    fields = columns_of([run.fields for run in runs])
    return frame_of_columns([run.id_run for run in runs], own, fields, facts if ledger else {})


def frame_of_columns(
    ids: Sequence[str], params: Columns, fields: Columns, facts: Columns
) -> pd.DataFrame:
    """Return the frame of columns that have a value of each run, or None.

    Args:
        ids: Ids of the runs.
        params: Their params, as far as they are wanted.
        fields: Their fields.
        facts: What the ledger says, likewise.
    """
    import pandas as pd

    from mltraq_prefect.model.dtypes import typed

    columns: dict[str, Sequence[Any]] = {"id_run": ids}
    fields = _named(fields, "field_", columns)
    columns |= _named(params, "param_", [*columns, *fields]) | fields
    shown = _named(facts, "run_", columns)
    columns |= shown
    made = {name: typed(values) for name, values in columns.items()}
    for fact, name in zip(facts, shown, strict=True):
        made[name] = typed(columns[name], _WITHOUT_VALUES[fact])
    return pd.DataFrame(made)


def columns_of(dicts: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the columns of dicts by their keys, in the order in which these first appear."""
    keys = dict.fromkeys(itertools.chain.from_iterable(dicts))
    return {key: [dict.get(item, key) for item in dicts] for key in keys}


def _named(columns: Columns, prefix: str, taken: Collection[str]) -> dict[str, Sequence[Any]]:
    """Put a prefix before names that others have, also in other case, as in the view."""
    met = {name.lower() for name in taken}
    found: dict[str, Sequence[Any]] = {}
    for key, cells in columns.items():
        name = key
        while name.lower() in met or name in found:
            name = prefix + name
        found[name] = cells
    return found
