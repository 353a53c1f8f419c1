"""Copying a stored experiment to another database, some runs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from mltraq_prefect.errors import InvalidInput, StoreError
from mltraq_prefect.model.sizes import MOST_BYTES, ROW_BYTES, RUNS_AT_ONCE, size_of
from mltraq_prefect.storage.reading.chunks import MOST_RUNS, START, Place
from mltraq_prefect.storage.records import Mode, Record, Written
from mltraq_prefect.storage.store import Store
from mltraq_prefect.storage.tables.tagging import NOTHING

Copied = Callable[[int], None]
"""Takes how many runs were copied by a transaction."""


def copy(source: Store, target: Store, name: str, mode: Mode, copied: Copied) -> None:
    """Copy an experiment: what fits into memory in one transaction, more by a transaction each.

    Args:
        source: Where it is.
        target: Where to.
        name: Its name.
        mode: What to do with an experiment there that has its name; see `Store.write`. With
            ``"replace"`` the first transaction replaces it.
        copied: Gets how many runs were copied, after each transaction.

    Raises:
        InvalidInput: It would replace itself; nothing was written.
        ExperimentNotFound: There is none of this name.
        ExperimentExists: With ``"fail"``, there is one of this name; nothing was written.
        StoreError: A database refused, or the experiment was replaced or deleted meanwhile. Runs
            of the transactions before stay; a merge adds the others.
    """
    if mode == "replace":
        _refuse_itself(source, target, name)
    known: set[str] = set()
    first: Written | None = None
    for record in _portions(source, name):
        _complete(source, record, known)
        if first is None:
            first = written = target.write(record, mode)
        else:
            record.fields, record.annotations = {}, NOTHING
            written = target.write(record, "merge")
            if written.id_experiment != first.id_experiment or _is_new(written):
                raise StoreError(
                    f"experiment {name!r} was deleted or replaced in the other database while it "
                    "was copied, and has some of the runs there; copy it again, and replace it"
                )
        copied(len(record.runs))
        record.runs = []  # nothing else has them


def _is_new(written: Written) -> bool:
    """Return whether a merge has made an experiment."""
    return written.changed and written.revision == 1


def _refuse_itself(source: Store, target: Store, name: str) -> None:
    """Refuse to replace what is read."""
    written = source.last_write(name)
    if written is not None and written == target.last_write(name):
        raise InvalidInput(
            f"the other database has experiment {name!r} as it is here, or is the same database; "
            "nothing was replaced"
        )


def _portions(store: Store, name: str) -> Iterator[Record]:
    """Yield the experiment with some of its runs after the others, in their order.

    Raises:
        StoreError: Another experiment has its name now.
    """
    place: Place | None = START
    most, of_rows = _limits(store, name)
    held: Record | None = None
    size = 0
    while place is not None:
        chunk = store.chunk(name, place, min(MOST_RUNS, most))
        record, place = chunk.record, chunk.last
        if held is not None and held.id_experiment != record.id_experiment:
            raise StoreError(f"experiment {name!r} was replaced while it was copied; copy it again")
        runs = [*(() if held is None else held.runs), *record.runs]
        size += of_rows * len(record.runs) + sum(map(size_of, record.runs))
        held = replace(record, runs=runs, snapshot=None, revision=None, missing_runs=0)
        if place is None or len(runs) >= most or size >= MOST_BYTES:
            yield held
            held, size = replace(held, runs=[]), 0


def _limits(store: Store, name: str) -> tuple[int, int]:
    """Return how many runs fit into memory, and the bytes of logged rows that a run has."""
    runs = max(1, store.run_count(name))
    logged = store.count_series_rows(name) * ROW_BYTES
    each = (logged + (store.size(name) or 0)) // runs
    return max(1, min(RUNS_AT_ONCE, MOST_BYTES // max(1, each))), logged // runs


def _complete(store: Store, record: Record, known: set[str]) -> None:
    """Give a record what it refers to, apart from what is known to be there."""
    used = {
        entry.id_execution
        for run in record.runs
        for entry in (run.ledger, *run.ledger.executions.values())
        if entry.id_execution is not None
    }
    missing = sorted(used - known)
    found = store.known_executions(record.id_experiment, missing, whole=True) if missing else []
    record.executions = {facts.id_execution: facts for facts in found}
    prints = record.fingerprints
    record.fingerprints = {digest: prints[digest] for digest in prints if digest not in known}
    known |= used | prints.keys()
