"""The series of a run as a frame."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from mltraq_prefect.model.series import MISSING, Placed, joined

if TYPE_CHECKING:
    import pandas as pd


def frame_of_series(placed: Sequence[Placed]) -> pd.DataFrame:
    """Return a frame with a row for each that was logged, and the columns of `Run.series`.

    Args:
        placed: The rows, in order.
    """
    import pandas as pd

    from mltraq_prefect.model.dtypes import typed

    rows = joined([part.rows for part in placed])
    seq = np.fromiter(chain.from_iterable(part.seq for part in placed), np.int64, len(rows))
    times = pd.to_datetime(np.array(rows.times, dtype="datetime64[us]"), utc=True)
    steps = typed(rows.steps) if len(rows) else pd.Series(dtype=np.int64)
    columns: dict[str, Any] = {"seq": seq, "step": steps, "at": times}
    for key, values in rows.columns.items():
        columns[key] = typed([None if value is MISSING else value for value in values])
    return pd.DataFrame(columns)
