"""Fields of runs as a frame."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.model.run import Run


def frame_of(runs: Iterable[Run]) -> pd.DataFrame:
    """Return a frame with `id_run` and the fields, one row a run, values as they are."""
    import pandas as pd

    runs = list(runs)
    keys = dict.fromkeys(itertools.chain.from_iterable(run.fields for run in runs))
    columns = {"id_run": [run.id_run for run in runs]} | {
        key: _column([dict.get(run.fields, key) for run in runs]) for key in keys
    }
    return pd.DataFrame(columns)


def _column(values: list[Any]) -> Any:
    import pandas as pd

    plain = all(isinstance(value, (int, float, str, bool)) for value in values)
    return values if plain else pd.Series(values, dtype=object)
