"""Reading an experiment back, and listing what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import repeat
from typing import Any

import numpy as np

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData, ExperimentNotFound, FieldNotFound
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import (
    experiments_table,
    fingerprints,
    own_fields,
    selections,
    stored_values,
    tables,
)
from mltraq_prefect.storage import files as file_rows
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.file_reader import FilesOfRuns, ReadFiles
from mltraq_prefect.storage.lazy_runs import ReadSeries, Series, StoredRuns
from mltraq_prefect.storage.ledger import LEDGER
from mltraq_prefect.storage.ledger_columns import parse_steps
from mltraq_prefect.storage.pending import Pending, check_name, pending_runs
from mltraq_prefect.storage.records import LISTED, LedgerMark, Part, Record, SeenRuns, Snapshot
from mltraq_prefect.storage.run_steps import Executions
from mltraq_prefect.storage.selections import Selection
from mltraq_prefect.storage.sql.connections import DriverError, Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.sql.schema import STATES
from mltraq_prefect.storage.values.change_marks import with_exact
from mltraq_prefect.storage.values.columns import column

_LEDGER = tuple(name for name in LEDGER if name != "id_experiment")

ReadExecutions = Callable[[str, Sequence[int]], Executions]
"""Reads the entries of the steps of runs, which few ask for, in a transaction of its own."""

Sources = tuple[Callable[[Sequence[int]], Executions], ReadSeries, ReadFiles]
"""Read the entries of the steps of runs, their series and their files, which few ask for."""

LedgerPart = tuple[stored_values.Ledger, dict[str, dict[str, str]]]
"""A part of the ledger, and the steps of each distinct text of its column `steps`."""


def read(
    transaction: Transaction,
    name: str,
    columns: Sequence[str] | None,
    pending: Pending | None,
    ids: Sequence[str] | None,
    executions: ReadExecutions,
    series: Callable[[str, str, Sequence[str]], Series],
    files: Callable[[str, str, Sequence[str]], FilesOfRuns],
    where: Selection | None = None,
) -> Callable[[], Record]:
    """Select an experiment; return what makes it when the transaction has ended.

    See `Store.read`.
    """
    entry = stored_entry(transaction, name)
    keys = list(entry.layout) if columns is None else _known(columns, entry)
    check_name(transaction, pending, entry)
    if pending is not None:
        ids = pending_runs(transaction, pending, entry.id_experiment)
    if where is not None:
        found = selections.ids(transaction, entry, where)
        ids = found if ids is None else [*frozenset(ids).intersection(found)]
    selected = tables.ledger(transaction, entry, _LEDGER, ids)
    ledger: Callable[[], LedgerPart] = cache(lambda: _ledger(selected(), ids))
    cells = tables.cells(transaction, entry, keys, ids)
    own = own_fields.read(transaction, entry.id_experiment)
    prints = fingerprints.read(transaction, entry.id_experiment)
    has_files = file_rows.any_of(transaction, entry.id_experiment)
    dialect = transaction.dialect

    def record() -> Record:
        logged = partial(series, name, entry.id_experiment) if entry.series else _nothing
        of_files = partial(files, name, entry.id_experiment) if has_files else _nothing
        sources = partial(executions, entry.id_experiment), logged, of_files
        made = _record(entry, keys, ledger(), cells(), sources, dialect)
        made.fingerprints, made.has_files = prints, has_files
        return _with_fields(made, own)

    return record


def _nothing(_ids: Sequence[str]) -> dict[str, Any]:
    return {}


def _with_fields(record: Record, residual: bytes | None) -> Record:
    """Give a record the fields of its experiment."""
    exact = own_fields.parsed(residual, record.name)
    record.fields = {key: _decoded(data, record.name, key) for key, data in exact.items()}
    if record.snapshot is not None:
        record.snapshot.fields = own_fields.marks_of(exact)
    return record


def _record(
    entry: Entry,
    keys: list[str],
    part: LedgerPart,
    cells: tables.Cells,
    sources: Sources,
    dialect: Dialect,
) -> Record:
    runs, snapshot = _runs(entry, keys, part, cells, sources, dialect)
    return Record(
        name=entry.name,
        id_experiment=entry.id_experiment,
        runs=runs,
        revision=entry.revision,
        snapshot=snapshot,
        missing_fields=[key for key in entry.layout if key not in keys],
        missing_runs=entry.run_count - len(runs),
        has_series=entry.series is not None,
        annotations=entry.annotations,
        original_name=entry.properties.get("original_name"),
    )


def _ledger(columns: Sequence[Sequence[Any]], ids: Sequence[str] | None) -> LedgerPart:
    """Return the ledger of the runs that are asked for, and what its texts of steps mean."""
    ledger = dict(zip(_LEDGER, columns, strict=True))
    steps = parse_steps(ledger["steps"])
    return stored_values.wanted(ledger, ids), steps


def stored_entry(transaction: Transaction, name: str) -> Entry:
    """Return the entry of an experiment.

    Raises:
        ExperimentNotFound: There is none of this name.
    """
    entry = experiments_table.find(transaction, name)
    if entry is None:
        raise ExperimentNotFound(f"there is no experiment {name!r} in the database")
    if entry.table == transaction.absent:
        raise DriverError("moved", f"the table {entry.table} was made a moment ago")
    return entry


def keys(transaction: Transaction, name: str) -> list[str]:
    """Return the keys of the fields that runs of an experiment have; none if it is not stored."""
    entry = experiments_table.find(transaction, name)
    return [] if entry is None else list(entry.layout)


def _known(columns: Sequence[str], entry: Entry) -> list[str]:
    for key in columns:
        if key not in entry.layout:
            known = ", ".join(map(repr, entry.layout)) or "none"
            raise FieldNotFound(
                f"no run of experiment {entry.name!r} has a field {key!r}; its fields: {known}"
            )
    return list(dict.fromkeys(columns))


def _decoded(data: bytes, experiment: str, key: str) -> Any:
    try:
        return decode(data)
    except CorruptData as error:
        raise error.within(experiment, field=key) from None


def _runs(
    entry: Entry,
    keys: list[str],
    listed: LedgerPart,
    stored: tables.Cells,
    sources: Sources,
    dialect: Dialect,
) -> tuple[list[Run], Snapshot]:
    ledger, steps = listed
    parts = partial(sources[0], ledger["position"]), *sources[1:]
    ids, cells, indexes = stored_values.matched(entry, ledger, *stored)
    residuals = stored_values.residuals_of(ledger, entry)
    exact = {key: stored_values.exact_of(entry, key, ids, cells[key], residuals) for key in keys}
    marks = [_marks(entry, key, cells[key], exact[key]) for key in keys]
    fields = {key: stored_values.values_of(entry, key, ids, cells[key], exact[key]) for key in keys}
    params = partial(stored_values.params_of, entry, ledger, residuals)
    large = [key for key, marked in zip(keys, marks, strict=True) if fields[key] is not marked]
    source = StoredRuns(dialect, fields, large, params, ledger, steps, indexes, *parts)
    runs = list(map(Run.stored, ids, repeat(source), range(len(ids))))
    ledger_marks = [ledger[name] for name in LedgerMark._fields]
    bare = column([data is None for data in ledger["residual"]])
    part = Part(
        tuple(keys),
        ids,
        marks,
        ledger_marks,
        indexes,
        ledger["duration_s"],
        ledger["position"],
        bare,
    )
    now = entry.revision
    snapshot = Snapshot(entry.id_experiment, SeenRuns(part), since=now, revision=now)
    snapshot.annotations = entry.annotations
    positions = np.array(ledger["position"], dtype=np.int64)[np.array(indexes, dtype=np.intp)]
    if (np.diff(positions) < 0).any():
        runs = [runs[index] for index in np.argsort(positions).tolist()]
    return runs, snapshot


def _marks(entry: Entry, key: str, cells: Sequence[Any], exact: dict[int, bytes]) -> Sequence[Any]:
    with tables.of_kind(entry, key):
        return with_exact(entry.layout[key].kind.marks(cells), exact)


def read_pickle(transaction: Transaction, name: str) -> tuple[bytes, str]:
    """Return the sealed pickle of an experiment, and its id; see `Store.read_pickle`."""
    entry = stored_entry(transaction, name)
    rows = transaction.rows(
        "SELECT pickle FROM experiment_pickles WHERE id_experiment = ?", (entry.id_experiment,)
    )
    if not rows:
        raise ExperimentNotFound(
            f"experiment {name!r} has no pickle; persist it with store_pickle=True, or load it "
            "with pickle=False"
        )
    return rows[0][0], entry.id_experiment


def ls(
    transaction: Transaction, pending: Pending | None, *, has_sizes: bool = True
) -> list[dict[str, Any]]:
    """List the experiments; see `Store.ls`."""
    listed = experiments_table.find_all(transaction)
    if pending is not None:
        listed = [
            entry
            for entry in listed
            if pending_runs(transaction, pending, entry.id_experiment, most=1)
        ]
    sizes = tables.sizes(transaction, listed) if has_sizes else {}
    return [_summary(entry) | {"bytes": sizes.get(entry.id_experiment)} for entry in listed]


def _summary(entry: Entry) -> dict[str, Any]:
    known = entry.properties
    counts = [entry.states.get(state, 0) for state in STATES]
    own = (entry.name, entry.id_experiment, entry.table, entry.run_count, *counts)
    times = (known.get("created_at"), known.get("updated_at"))
    said = (dict(entry.annotations.tags), entry.annotations.note)
    cells = (*own, len(entry.layout), entry.revision, *times, *said)
    return dict(zip(LISTED, cells, strict=False))
