"""Runs of ten scalar fields, and databases to write them to."""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mltraq_prefect.model.ledger_entry import LedgerEntry, StepEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Record

NAMESPACE = uuid.UUID(int=7)
FIELDS = {
    **dict.fromkeys(("loss", "accuracy", "precision", "recall", "auc"), "float8"),
    **dict.fromkeys(("epoch", "batches", "parameters"), "int8"),
    "optimizer": "text",
    "converged": "bool",
}


def make_runs(count: int) -> list[Run]:
    """Return completed runs of ten scalars, with ledger entries and ids as the package has them."""
    rng = np.random.default_rng(0)
    floats = rng.random((count, 5)).tolist()
    ints = rng.integers(0, 10**6, (count, 3)).tolist()
    return [
        Run(
            str(uuid.uuid5(NAMESPACE, str(i))),
            params={"N": i},
            fields=dict(
                zip(FIELDS, (*floats[i], *ints[i], f"adam {i % 7}", i % 2 == 0), strict=True)
            ),
            ledger=_entry(),
        )
        for i in range(count)
    ]


def _entry() -> LedgerEntry:
    started = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    facts = (1, started, 0.25, str(uuid.UUID(int=1)))
    found = LedgerEntry("completed", {"toss": "1"}, None, *facts)
    found.executed["toss"] = StepEntry("completed", "1", None, None, *facts)
    return found


def record(runs: list[Run]) -> Record:
    """Return a new experiment of some runs."""
    return Record(name="bench", id_experiment=str(uuid.uuid4()), runs=runs)


@contextmanager
def sqlite_url() -> Iterator[str]:
    """Yield the URL of a new file on disk."""
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{Path(directory) / 'bench.db'}"
