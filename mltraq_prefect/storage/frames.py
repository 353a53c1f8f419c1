"""What SQL statements return, as frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mltraq_prefect.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd


def query_frame(
    store: Store, sql: str, params: Mapping[str, Any] | None, names: Mapping[str, str]
) -> pd.DataFrame:
    """Return the rows of an SQL statement as a frame; see `Store.query`."""
    import pandas as pd

    columns, rows = store.query(sql, params, names=names)
    return pd.DataFrame(rows, columns=columns)
