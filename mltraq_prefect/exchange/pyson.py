"""Values as MLTRAQ keeps them up to 0.0.103: JSON, tagged where a value is of another type."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.exchange.datapak import inflated

_MAGIC = ("mltraq-type-0.0", "mltraq-type-1.0", "PYJSON-type-0.0")


def value(data: bytes) -> Any:
    """Return the value of some bytes, which may be compressed.

    Raises:
        CorruptData: They are none.
    """
    data = bytes(data)
    if data[:1] == b"x":  # no JSON begins with it, and zlib does
        data = inflated(data)
    try:
        return json.loads(data, object_hook=_decoded)
    except CorruptData:
        raise
    except Exception:  # what pandas and NumPy raise for damaged data is not documented
        raise CorruptData("a value of MLTRAQ is damaged") from None


def _decoded(found: dict[str, Any]) -> Any:
    for magic in _MAGIC:
        if magic in found:
            tag = str(found[magic]).removesuffix("-0.0")
            if tag not in _MAKERS:
                raise CorruptData(f"it has a part of the unknown type {tag!r:.60}")
            return _MAKERS[tag](found)
    return found


def _array(found: dict[str, Any]) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = np.asarray(found["data"], dtype=found.get("dtype"))
    if array.dtype.hasobject:
        raise CorruptData("an array is of no type of its own")
    return array


def _frame(found: dict[str, Any]) -> pd.DataFrame:
    index = found.get("dtype_index", found.get("dtype-index"))
    frame = pd.DataFrame(found["data"], index=pd.Index(found["index"]).astype(index))
    return frame.astype(found["dtypes"])


def _series(found: dict[str, Any]) -> Any:
    return _frame(found).iloc[:, 0]


_MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "numpy.ndarray": _array,
    "pandas.DataFrame": _frame,
    "pandas.Series": _series,
    "uuid.UUID": lambda found: uuid.UUID(found["data"]),
}
