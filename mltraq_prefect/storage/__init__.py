"""Experiments in SQL tables: what SQL sees is natural, what Python gets back is exact.

Only this package writes SQL. It imports neither pandas nor pyarrow nor Prefect.
"""

from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.records import Mode, Record, Seen, Snapshot, Written
from mltraq_prefect.storage.store import Store
from mltraq_prefect.storage.tables.tagging import Annotations
from mltraq_prefect.storage.tables.tagging import checked as check_annotations

__all__ = [
    "Annotations",
    "Mode",
    "Record",
    "Seen",
    "Snapshot",
    "Store",
    "Written",
    "check_annotations",
    "check_name",
]
