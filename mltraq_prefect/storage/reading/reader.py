"""Reading an experiment back, and listing what there is."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData, ExperimentNotFound, FieldNotFound
from mltraq_prefect.storage.files.file_reader import FilesOfRuns, ReadFiles
from mltraq_prefect.storage.formats.schema import STATES
from mltraq_prefect.storage.reading import chosen_runs, stored_values
from mltraq_prefect.storage.reading.lazy_runs import ReadSeries, Series, StoredColumns, StoredRuns
from mltraq_prefect.storage.reading.pending import (
    Pending,
    PendingRuns,
    check_name,
    warn_of_other_code,
)
from mltraq_prefect.storage.reading.selections import Selection
from mltraq_prefect.storage.records import LISTED, LedgerMark, Part, Record, SeenRuns, Snapshot
from mltraq_prefect.storage.sql.connections import DriverError, Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import (
    experiments_table,
    fingerprints,
    own_fields,
    run_cells,
    standings,
)
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.ledger import LEDGER
from mltraq_prefect.storage.tables.ledger_columns import parse_steps
from mltraq_prefect.storage.tables.run_steps import Executions
from mltraq_prefect.storage.values.columns import Constant, column

_LEDGER = tuple(name for name in LEDGER if name != "id_experiment")

ReadExecutions = Callable[[str, Sequence[int]], Executions]
"""Reads the entries of the steps of runs, which few ask for, in a transaction of its own."""

Sources = tuple[Callable[[Sequence[int]], Executions], ReadSeries, ReadFiles]
"""Read the entries of the steps of runs, their series and their files, which few ask for."""

_COMPARED = 1000
"""So many names are compared with one that is not there."""


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
    found = experiments_table.find_more(transaction, name)
    if found is None:
        raise _not_found(transaction, name)
    entry, extras = found
    _refuse_moved(transaction, entry)
    keys = list(entry.layout) if columns is None else _known(columns, entry)
    if pending is None:
        ledger, cells = chosen_runs.select(transaction, entry, _LEDGER, keys, where, ids)
    else:
        ledger, cells = _pending(transaction, entry, keys, pending, where)
    own = own_fields.whole(transaction, entry.id_experiment, extras.residual)
    prints = fingerprints.read(transaction, entry.id_experiment)
    if pending is not None:
        warn_of_other_code(transaction, pending, entry, prints)
    dialect = transaction.dialect

    def record() -> Record:
        logged = partial(series, name, entry.id_experiment) if entry.series else _nothing
        of_files = partial(files, name, entry.id_experiment) if extras.has_files else _nothing
        sources = partial(executions, entry.id_experiment), logged, of_files
        made = _record(entry, keys, ledger(), cells(), sources, dialect)
        made.fingerprints, made.has_files = prints, extras.has_files
        return _with_fields(made, own)

    return record


def _pending(
    transaction: Transaction,
    entry: Entry,
    keys: Sequence[str],
    pending: Pending,
    where: Selection | None,
) -> chosen_runs.Parts:
    """Select pending runs."""
    known = standings.find(transaction, entry.id_experiment)
    check_name(transaction, pending, entry, known)
    runs = PendingRuns(transaction, pending, entry.id_experiment, known)
    count = sum(last - first + 1 for first, last in runs.places)
    if where is None and not runs.changed and run_cells.are_few(count, entry):
        return chosen_runs.at_places(transaction, entry, _LEDGER, keys, runs.places)
    return chosen_runs.select(transaction, entry, _LEDGER, keys, where, runs.ids())


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
    ledger: stored_values.Ledger,
    cells: run_cells.Cells,
    sources: Sources,
    dialect: Dialect,
) -> Record:
    runs, snapshot = _runs(entry, keys, ledger, cells, sources, dialect)
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


def stored_entry(transaction: Transaction, name: str) -> Entry:
    """Return the entry of an experiment.

    Raises:
        ExperimentNotFound: There is none of this name.
    """
    entry = experiments_table.find(transaction, name)
    if entry is None:
        raise _not_found(transaction, name)
    _refuse_moved(transaction, entry)
    return entry


def _not_found(transaction: Transaction, name: str) -> ExperimentNotFound:
    """Return the error for an experiment that is not there, with a name that is like its own."""
    names = transaction.rows(f"SELECT name FROM experiments LIMIT {_COMPARED}")
    close = difflib.get_close_matches(name, [known for (known,) in names], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ExperimentNotFound(f"there is no experiment {name!r} in the database{hint}")


def _refuse_moved(transaction: Transaction, entry: Entry) -> None:
    """Let a transaction begin again that has not seen how a table was made."""
    if entry.table == transaction.absent:
        raise DriverError("moved", f"the table {entry.table} was made a moment ago")


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
    ledger: stored_values.Ledger,
    stored: run_cells.Cells,
    sources: Sources,
    dialect: Dialect,
) -> tuple[StoredColumns, Snapshot]:
    steps = parse_steps(ledger["steps"])
    parts = partial(sources[0], ledger["position"]), *sources[1:]
    ids, cells, indexes = stored_values.matched(entry, ledger, *stored)
    residuals = stored_values.residuals_of(ledger, entry)
    found = [stored_values.of_field(entry, key, ids, cells[key], residuals) for key in keys]
    fields = {key: values for key, (values, _) in zip(keys, found, strict=True)}
    marks = [own for _, own in found]
    if not residuals:  # the ids are those of the runs, which are kept once
        ledger = {name: own for name, own in ledger.items() if name != "id_run"}
    params = partial(stored_values.params_of, entry, ledger, residuals)
    large = [key for key, marked in zip(keys, marks, strict=True) if fields[key] is not marked]
    source = StoredRuns(dialect, ids, fields, large, params, ledger, steps, indexes, *parts)
    ledger_marks = [ledger[name] for name in LedgerMark._fields]
    bare = _bare(ledger["residual"])
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
    return StoredColumns(source, stored_values.in_order(ledger["position"], indexes)), snapshot


def _bare(residuals: Sequence[bytes | None]) -> Sequence[bool]:
    """Return which runs have no residual."""
    if isinstance(residuals, Constant):
        return Constant(residuals.value is None, len(residuals))
    return column([data is None for data in residuals])


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
        listed = [entry for entry in listed if _has_pending(transaction, pending, entry)]
    sizes = run_cells.sizes(transaction, listed) if has_sizes else {}
    return [_summary(entry) | {"bytes": sizes.get(entry.id_experiment)} for entry in listed]


def _has_pending(transaction: Transaction, pending: Pending, entry: Entry) -> bool:
    known = standings.find(transaction, entry.id_experiment)
    return bool(PendingRuns(transaction, pending, entry.id_experiment, known).ids(most=1))


def _summary(entry: Entry) -> dict[str, Any]:
    known = entry.properties
    counts = [entry.states.get(state, 0) for state in STATES]
    own = (entry.name, entry.id_experiment, entry.table, entry.run_count, *counts)
    times = (known.get("created_at"), known.get("updated_at"))
    said = (dict(entry.annotations.tags), entry.annotations.note)
    cells = (*own, len(entry.layout), entry.revision, *times, *said)
    return dict(zip(LISTED, cells, strict=False))
