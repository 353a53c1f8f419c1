"""What SQL statements return, as frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.storage.store import Store

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
    """Return the rows of an SQL statement as a frame; see `Store.query_columns`."""
    keys, columns = store.query_columns(sql, params, names=names, decoded=decode)
    return frame(keys, columns)


def frame(keys: Sequence[str], columns: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """Return columns, whose names may be equal, as a frame with their dtypes."""
    import pandas as pd

    from mltraq_prefect.model.dtypes import typed

    made = pd.DataFrame(dict(enumerate(map(typed, columns))))
    made.columns = pd.Index(keys)
    return made
