"""What the databases in tests/assets hold: one for each format version, readable for ever.

``python -m tests.contract.assets`` writes that of the present version, if there is none yet.
"""

import datetime as dt
import decimal
import uuid
import zoneinfo
from pathlib import Path

import numpy as np
import pandas as pd

from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Record, Store
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.sql.migrations import newest

FOLDER = Path(__file__).parent.parent / "assets"

VALUES_1 = {
    "none": None,
    "bool": True,
    "int": -5,
    "huge": 2**100,
    "float": 0.1 + 0.2,
    "nan": float("nan"),
    "negative zero": -0.0,
    "complex": 1 - 2j,
    "text": "naïve \0 text",
    "bytes": b"\0\xff",
    "decimal": decimal.Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "datetime": dt.datetime(2026, 11, 23, 1, 2, 3, 456789),
    "aware": dt.datetime(2026, 3, 29, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    "date": dt.date(2026, 11, 23),
    "time": dt.time(1, 2, 3, 4),
    "timedelta": dt.timedelta(days=-1, microseconds=1),
    "list": [1, 2.5, None, "x", [True]],
    "dict": {"b": {"c": [1]}, "a": 2},
    "tuple": (1, [2, (3,)]),
    "set": {1, "two"},
    "frozenset": frozenset({1.5}),
    "tags": {"$tuple": [1], (1, 2): "key"},
    "numpy scalar": np.float32(0.1),
    "datetime64": np.datetime64("2026-01-01T00:00:00.000000001", "ns"),
    "array": np.arange(6, dtype=">i2").reshape(2, 3),
    "fortran": np.asfortranarray(np.eye(3)),
    "structured": np.array([(1, 2.0)], dtype=[("a", "u1"), ("b", "<f8")]),
    "large": np.arange(5_000.0),
    "series": pd.Series([1, None], index=["x", "y"], name="s", dtype="Int64"),
    "frame": pd.DataFrame(
        {
            "n": [1, 2],
            "t": ["a", None],
            "c": pd.Categorical(["u", "v"], ordered=True),
            "z": pd.date_range("2026-01-01", periods=2, tz="Europe/Berlin"),
        }
    ),
    "index": pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]),
    "timestamp": pd.Timestamp("2026-01-01 00:00:00.000000001"),
    "NA": pd.NA,
}


def record_1():
    """Return the experiment that the database of format 1 holds."""
    ledger = LedgerEntry(
        state="completed",
        steps={"toss": "0123456789abcdef"},
        attempts=1,
        started_at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC),
        duration_s=0.25,
        position=0,
    )
    full = Run(str(uuid.UUID(int=1)), params={"N": 1, "pair": (1, 2)}, fields=VALUES_1)
    full.ledger = ledger
    failed = Run(str(uuid.UUID(int=2)), params={"N": 2, "pair": (3, 4)}, fields={"bool": False})
    failed.ledger = LedgerEntry(state="failed", error="step toss: no coin", position=1)
    return Record(
        name="coin toss",
        id_experiment=str(uuid.UUID(int=3)),
        fields={"description": "of format 1", "shape": (2, 3)},
        runs=[full, failed],
    )


def main():
    """Write the database of the present format."""
    path = FOLDER / f"format-{newest(MIGRATIONS)}.db"
    if path.exists():
        raise SystemExit(f"{path.name} exists; what it holds must stay readable as it is")
    store = Store(f"sqlite:///{path}")
    store.write(record_1(), "fail")
    store.close()


if __name__ == "__main__":
    main()
