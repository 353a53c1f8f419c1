"""The one place of the package that unpickles."""

from __future__ import annotations

import pickle
from typing import Any


def unpickled(data: bytes) -> Any:
    """Return what was pickled; runs whatever code the pickle names.

    Only for bytes from this program's own worker processes, and for those from a database whose
    signature `mltraq_prefect.storage.pickles.unseal` has checked.
    """
    return pickle.loads(data)
