"""Runs of ten scalar fields, the same rows as tuples, and databases to write them to."""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mltraq_prefect.model.ledger_entry import LedgerEntry, StepEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Record

NAMESPACE = uuid.UUID(int=7)
FIELDS = {
    **dict.fromkeys(("loss", "accuracy", "precision", "recall", "auc"), "DOUBLE PRECISION"),
    **dict.fromkeys(("epoch", "batches", "parameters"), "BIGINT"),
    "optimizer": "TEXT",
    "converged": "BOOLEAN",
}


def make_rows(count: int, in_order: bool = True) -> list[tuple[Any, ...]]:
    """Return rows of an id and ten scalars; ids in order, or as the package makes them."""
    rng = np.random.default_rng(0)
    floats = rng.random((count, 5)).tolist()
    ints = rng.integers(0, 10**6, (count, 3)).tolist()
    ids = (uuid.UUID(int=i) if in_order else uuid.uuid5(NAMESPACE, str(i)) for i in range(count))
    return [
        (str(id_run), *floats[i], *ints[i], f"adam {i % 7}", i % 2 == 0)
        for i, id_run in enumerate(ids)
    ]


def make_runs(count: int, in_order: bool = True) -> list[Run]:
    """Return completed runs with the fields of `make_rows`, and ledger entries."""
    started = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    flow_run_id = str(uuid.UUID(int=1))

    def entry() -> LedgerEntry:
        facts = (1, started, 0.25, flow_run_id)
        found = LedgerEntry("completed", {"toss": "1"}, None, *facts)
        found.executed["toss"] = StepEntry("completed", "1", None, None, *facts)
        return found

    return [
        Run(
            id_run,
            params={"N": i},
            fields=dict(zip(FIELDS, values, strict=True)),
            ledger=entry(),
        )
        for i, (id_run, *values) in enumerate(make_rows(count, in_order))
    ]


def record(runs: list[Run]) -> Record:
    """Return a new experiment of some runs."""
    return Record(name="bench", id_experiment=str(uuid.uuid4()), runs=runs)


@contextmanager
def sqlite_url() -> Iterator[str]:
    """Yield the URL of a new file on disk."""
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{Path(directory) / 'bench.db'}"
