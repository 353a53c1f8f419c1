"""Runs as a frame: what they track, and beside it their params and what the ledger says."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.model.run import Run

LEDGER_SHOWN = ("state", "duration_s", "started_at", "error")
"""What frames and views show of the ledger."""

_WITHOUT_VALUES = dict(
    zip(LEDGER_SHOWN, ("str", "float64", "datetime64[us, UTC]", "str"), strict=True)
)
"""Dtypes of those columns if they have no value."""


def frame_of(runs: Iterable[Run], *, params: bool = False, ledger: bool = False) -> pd.DataFrame:
    """Return a frame with `id_run` and the fields, one row a run; see `Runs.df`."""
    import pandas as pd

    from mltraq_prefect.model.dtypes import typed

    runs = list(runs)
    columns: dict[str, Any] = {"id_run": [run.id_run for run in runs]}
    fields = _columns([run.fields for run in runs])
    own = _columns([run.params for run in runs]) if params else {}
    fields = _named(fields, "field_", columns)
    columns |= _named(own, "param_", [*columns, *fields]) | fields
    if ledger:
        entries = [run.ledger for run in runs]
        facts = {name: [getattr(entry, name) for entry in entries] for name in LEDGER_SHOWN}
        shown = _named(facts, "run_", columns)
        columns |= shown
    made = {name: typed(values) for name, values in columns.items()}
    if ledger:
        named = zip(LEDGER_SHOWN, shown, strict=True)
        made |= {name: typed(columns[name], _WITHOUT_VALUES[fact]) for fact, name in named}
    return pd.DataFrame(made)


def _columns(dicts: list[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = dict.fromkeys(itertools.chain.from_iterable(dicts))
    return {key: [dict.get(item, key) for item in dicts] for key in keys}


def _named(
    columns: Mapping[str, list[Any]], prefix: str, taken: Collection[str]
) -> dict[str, list[Any]]:
    """Put a prefix before names that others have, also in other case, as in the view."""
    met = {name.lower() for name in taken}
    found: dict[str, list[Any]] = {}
    for key, cells in columns.items():
        name = key
        while name.lower() in met or name in found:
            name = prefix + name
        found[name] = cells
    return found
