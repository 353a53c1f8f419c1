"""What SQL statements return, as frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.arguments import check_flags
from mltraq_prefect.storage.reading import frame_columns
from mltraq_prefect.storage.reading.frame_columns import FrameColumn
from mltraq_prefect.storage.reading.selections import Selection
from mltraq_prefect.storage.store import Store
from mltraq_prefect.storage.values.kinds import BOOL, DATETIME, FLOAT, INT, KEY, TEXT

if TYPE_CHECKING:
    import pandas as pd


def query_frame(
    store: Store,
    sql: str,
    params: Mapping[str, Any] | None,
    names: Mapping[str, str],
    *,
    decode: bool,
) -> pd.DataFrame:
    """Return the rows of an SQL statement as a frame; see `Queries.columns`."""
    check_flags(decode=decode)
    keys, columns = store.queries.columns(sql, params, names, decoded=decode)
    return frame(keys, columns)


def experiment_frame(
    store: Store, name: str, columns: Sequence[str] | None, chosen: Selection
) -> pd.DataFrame:
    """Return runs of an experiment as a frame; see `Session.frame`."""
    import pandas as pd

    found = store.making(lambda t: frame_columns.select(t, name, columns, chosen), name)
    return pd.DataFrame({own.name: _series(own) for own in found})


def _series(own: FrameColumn) -> pd.Series[Any]:
    from mltraq_prefect.model.dtypes import typed

    dtype = _WITHOUT_VALUES.get(own.kind, "object")
    return typed(
        own.values, f"{dtype[:-1]}, UTC]" if own.kind is DATETIME and own.has_zone else dtype
    )


_WITHOUT_VALUES = {
    BOOL: "boolean",
    INT: "Int64",
    FLOAT: "float64",
    TEXT: "str",
    KEY: "str",
    DATETIME: "datetime64[us]",
}
"""Dtypes of columns that have no value."""


def frame(keys: Sequence[str], columns: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return columns, whose names may be equal, as a frame with their dtypes."""
    import pandas as pd

    from mltraq_prefect.model.dtypes import typed

    made = pd.DataFrame(dict(enumerate(map(typed, columns))))
    made.columns = pd.Index(keys)
    return made
