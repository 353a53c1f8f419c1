"""All that a write will send, encoded and checked before its first statement."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, TypeVar, cast

from mltraq_prefect.arguments import refused
from mltraq_prefect.codecs import encode
from mltraq_prefect.errors import InvalidInput, InvalidName, StoreError, UnsupportedType
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.names import check_name
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import MISSING
from mltraq_prefect.storage.records import LedgerMark, Part, Record, Snapshot, field_keys
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables.ledger import ledger_marks
from mltraq_prefect.storage.values.cells import UNCHANGED, for_driver
from mltraq_prefect.storage.values.change_marks import Mark, with_exact
from mltraq_prefect.storage.values.columns import aligned
from mltraq_prefect.storage.values.differences import differs
from mltraq_prefect.storage.values.layout import Column, Layout
from mltraq_prefect.storage.values.params import dump_params
from mltraq_prefect.storage.values.placement import layout_for
from mltraq_prefect.storage.values.projection import Projected, Projector, field_path, nothing_seen
from mltraq_prefect.storage.values.residuals import Exact, Residual

_ID_LENGTHS = frozenset(range(1, 65))

T = TypeVar("T")


@dataclass(slots=True)
class Plan:
    """An experiment, ready to be written to one backend.

    Attributes:
        record: What it was made from.
        ids: The ids of its runs.
        base: The layout that the table had when this was made.
        layout: The layout that it needs.
        fields: What is to be written of each field.
        ledger: Marks of the ledger rows, in columns.
        params_exact: Envelopes of the params of runs that JSON does not keep, by index.
    """

    record: Record
    ids: list[str]
    base: Layout
    layout: Layout
    fields: dict[str, Projected]
    ledger: list[Sequence[Any]]
    params_exact: dict[int, Exact]

    def part(self, positions: Sequence[int | None] = (), bare: Sequence[bool] = ()) -> Part:
        """Return what the database will hold of the runs.

        Args:
            positions: Their positions, None where it may hold something else; nothing if not known.
            bare: Which of them are known to have no residual; nothing if not known: those of new
                runs that have none in this plan.
        """
        marks = [projected.marks for projected in self.fields.values()]
        ids = self.ids
        if positions and not bare:
            exact = self.residuals()
            bare = [index not in exact for index in range(len(ids))] if exact else [True] * len(ids)
        ledger = [run.ledger.duration_s for run in self.record.runs], positions, bare
        return Part(tuple(self.fields), ids, marks, self.ledger, range(len(ids)), *ledger)

    def steps(self) -> list[str]:
        """Return the completed steps of all runs."""
        texts = self.ledger[LedgerMark._fields.index("steps")]
        return list(
            dict.fromkeys(step for text in dict.fromkeys(texts) for step in json.loads(text))
        )

    def states(self) -> Sequence[str]:
        """Return the state of each run."""
        return self.ledger[LedgerMark._fields.index("state")]

    def differs(self, run: Run, key: str, mark: Mark, before: Mark) -> bool:
        """Return whether a run's field is to be written, from its mark and the mark before."""
        column = self.base.get(key, self.layout[key])
        return differs(mark, before, dict.get(run.fields, key), column)

    def residuals(self) -> dict[int, Residual]:
        """Return what of the runs is not in cells or in JSON, by index."""
        residuals: dict[int, Residual] = {}
        for key, projected in self.fields.items():
            for index, data in projected.exact.items():
                residual = residuals.setdefault(index, Residual())
                residual.fields[key], residual.cells[key] = data, projected.cell_marks[index]
        for index, params in self.params_exact.items():
            residuals.setdefault(index, Residual()).params = params
        return residuals

    def retyped(self) -> dict[str, Column]:
        """Return the columns that become columns of another kind, as they are, by field."""
        placed = {key: column for key, column in self.base.items() if column.name is not None}
        return {k: column for k, column in placed.items() if self.layout[k].kind != column.kind}

    def cells(self, dialect: Dialect) -> dict[str, list[Any]]:
        """Return the cells for the driver by field, of the fields that have a column."""
        return {
            key: for_driver(dialect, projected.kind, projected.cells)
            for key, projected in self.fields.items()
            if self.layout[key].name is not None
        }


def make_plan(
    record: Record,
    base: Layout,
    dialect: Dialect,
    *,
    fixed: Collection[str] = (),
    compressed: Collection[str] | bool = False,
    limit: int = 10**9,
    columns_left: int | None = None,
) -> Plan:
    """Project and encode an experiment.

    Args:
        record: The experiment; large values that its snapshot has are left out.
        base: The layout of the table that it is merged into; empty for a new table.
        dialect: The backend.
        fixed: Keys of fields whose columns cannot become columns of another kind.
        compressed: Keys of fields whose binary values are compressed, or whether all are.
        limit: How many bytes the values of a run can take.
        columns_left: How many columns more the table can get; as many as a new one has if None.

    Raises:
        UnsupportedType: A value has no codec.
        InvalidName: A name or key cannot be stored.
        StoreError: A value is larger than the backend can take.
    """
    check_name(record.name, "experiment name")
    ids = _checked_ids(record)
    projector = Projector(dialect, base, fixed, compressed)
    fields = _project(record, ids, base, projector)
    ledger, params_exact = _ledger(record, ids, dialect)
    layout = layout_for(fields, base, dialect, columns_left)
    plan = Plan(record, ids, base, layout, fields, ledger, params_exact)
    _move_overflow(plan)
    _check_sizes(plan, dialect, limit)
    _check_ledger(plan, dialect, limit)
    return plan


def moved(
    plan: Plan, snapshot: Snapshot | None, base: Layout, dialect: Dialect, columns_left: int | None
) -> Plan | None:
    """Return a plan for a table that has got other columns; None if its values depend on them.

    Args:
        plan: The plan as it was made.
        snapshot: What is known now of what the database holds of its runs.
        base: The layout that the table has now.
        dialect: The backend.
        columns_left: How many columns more the table can get; as many as a new one if None.
    """
    if plan.record.snapshot is not snapshot:
        return None
    if plan.base == base:
        return plan
    for key, projected in plan.fields.items():
        before, now = plan.base.get(key), base.get(key)
        kind = None if now is None else (now.kind, now.type)
        if now != before and (before is not None or kind != (projected.kind, projected.type)):
            return None
    layout = layout_for(plan.fields, base, dialect, columns_left)
    if any((layout[key].name is None) != (plan.layout[key].name is None) for key in plan.fields):
        return None
    return replace(plan, base=base, layout=layout)


def _checked_ids(record: Record) -> list[str]:
    ids = [run.id_run for run in record.runs]
    if not _are_ids(ids):
        id_run = next(id_run for id_run in ids if not _are_ids([id_run]))
        raise InvalidName(f"experiment {record.name!r}: id_run {id_run!r} is not a UUID as text")
    if len(set(ids)) != len(ids):
        raise InvalidInput(f"experiment {record.name!r}: two runs have the same id_run")
    return ids


def _are_ids(ids: Sequence[object]) -> bool:
    if not {str}.issuperset(map(type, ids)):
        return False
    texts = cast("Sequence[str]", ids)
    return "".join(texts).isascii() and _ID_LENGTHS.issuperset(map(len, texts))


def _project(
    record: Record, ids: Sequence[str], base: Layout, projector: Projector
) -> dict[str, Projected]:
    snapshot = record.snapshot
    projected = {}
    fields = _parts(record, "fields", dict)
    columns = _columns(fields)
    for key in _keys(record, base, snapshot, columns):
        values = columns.get(key) or [dict.get(own, key, MISSING) for own in fields]
        seen = nothing_seen if snapshot is None else partial(snapshot.runs.marks, key, ids)
        try:
            project = projector.dense if key in columns else projector.sparse
            projected[key] = project(key, values, seen)
        except UnsupportedType as error:
            raise _located_error(error, record, key) from None
    return projected


def _parts(record: Record, name: str, kind: type[T]) -> list[T]:
    """Return a part of each run.

    Raises:
        InvalidInput: Somebody has assigned something else to one.
    """
    parts = [getattr(run, name) for run in record.runs]
    if not all(issubclass(own, kind) for own in set(map(type, parts))):
        run = next(run for run in record.runs if not isinstance(getattr(run, name), kind))
        what = f"experiment {record.name!r}, run {run.id_run}: {name}"
        raise refused(what, getattr(run, name), f"a {kind.__name__}")
    return parts


def _columns(fields: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each field that all runs have."""
    if (columns := aligned(fields)) is not None:
        return columns
    shared = [key for key in fields[0] if all(key in own for own in fields)]
    return {key: list(map(itemgetter(key), fields)) for key in shared}


def _keys(
    record: Record, base: Layout, snapshot: Snapshot | None, shared: Collection[str]
) -> list[str]:
    count = sum(len(run.fields) for run in record.runs)
    uniform = count == len(shared) * len(record.runs)
    keys = list(shared) if uniform else list(field_keys(run.fields for run in record.runs))
    for key in keys:
        try:
            check_name(key, "field key")
        except InvalidName as error:
            run = next(run for run in record.runs if key in run.fields)
            where = f"experiment {record.name!r}, run {run.describe()}"
            raise InvalidName(f"{where}: {error}") from None
    if snapshot is not None:
        read = dict.fromkeys(snapshot.runs.fields(run.id_run for run in record.runs))
        keys += [key for key in field_keys(dict.fromkeys(f) for f in read) if key in base]
    return list(dict.fromkeys(keys))


def _located_error(error: UnsupportedType, record: Record, key: str) -> UnsupportedType:
    """Find the run whose value was refused; only errors pay for it."""
    for run in record.runs:
        if key in run.fields:
            try:
                encode(run.fields[key], path=field_path(key))
            except UnsupportedType as refused:
                return refused.within(record.name, run.describe())
    return error.within(record.name)


def _ledger(
    record: Record, ids: Sequence[str], dialect: Dialect
) -> tuple[list[Sequence[Any]], dict[int, Exact]]:
    known = () if record.snapshot is None else record.snapshot.runs
    entries = _parts(record, "ledger", LedgerEntry)
    params = _parts(record, "params", dict)
    if any(map(attrgetter("stored"), entries)):
        for id_run, entry in zip(ids, entries, strict=True):
            if id_run not in known:
                _ = entry.executions  # read before the transaction that inserts them
    try:
        texts, exact = dump_params(params, dialect)
    except (UnsupportedType, InvalidName):
        raise _located_param(record, dialect) from None
    marks = ledger_marks(entries, texts, dialect)
    own = (map(attrgetter(name), entries) for name in ("steps", "executed"))
    for step in dict.fromkeys(chain.from_iterable(chain.from_iterable(own))):
        check_name(step, f"experiment {record.name!r}: step name")
    return marks, exact


def _located_param(record: Record, dialect: Dialect) -> Exception:
    """Find the run whose param was refused; only errors pay for it."""
    for run in record.runs:
        try:
            dump_params([run.params], dialect)
        except UnsupportedType as error:
            return error.within(record.name, run.describe())
        except InvalidName as error:
            return InvalidName(f"experiment {record.name!r}, run {run.describe()}: {error}")
    raise AssertionError("the error did not come back")


def _move_overflow(plan: Plan) -> None:
    """Encode all values of the fields for which the table has no room."""
    for key, projected in plan.fields.items():
        if plan.layout[key].name is not None:
            continue
        for index, run in enumerate(plan.record.runs):
            if key in run.fields:
                data = encode(run.fields[key], path=field_path(key))
                projected.exact[index] = data
        projected.cells = [None] * len(plan.record.runs)
        projected.cell_marks = dict.fromkeys(projected.exact)
        projected.marks = with_exact(projected.cells, projected.exact)


def _check_sizes(plan: Plan, dialect: Dialect, limit: int) -> None:
    """Refuse runs whose values do not go into one row, before anything is sent."""
    long = [field.cells for field in plan.fields.values() if field.kind.is_long]
    if sum(map(_longest, long)) <= limit // 4:
        return
    for index, cells in enumerate(zip(*long, strict=True)):
        if sum(map(_length, filter(None, cells))) > limit // 4:
            _check_size(plan, index, dialect, limit)


def _longest(cells: Sequence[Any]) -> int:
    try:
        return max(map(len, filter(None, cells)), default=0)
    except TypeError:  # some are `UNCHANGED`
        return max(map(_length, filter(None, cells)))


def _length(cell: str | bytes) -> int:
    return 0 if cell is UNCHANGED else len(cell)


def _check_size(plan: Plan, index: int, dialect: Dialect, limit: int) -> None:
    cells = {key: projected.cells[index] for key, projected in plan.fields.items()}
    long = {field_path(k): cell for k, cell in cells.items() if isinstance(cell, (str, bytes))}
    check_row(long, f"run {plan.record.runs[index].describe()}", plan.record, dialect, limit)


def _check_ledger(plan: Plan, dialect: Dialect, limit: int) -> None:
    """Refuse runs whose params, error and exact values do not go into one row of the ledger."""
    texts = plan.ledger[LedgerMark._fields.index("params")]
    exact = [data for own in plan.fields.values() for data in own.exact.values()]
    exact += [data for own in plan.params_exact.values() for data in own.values()]
    total = sum(map(len, exact))
    if total + max(map(len, texts), default=0) <= limit // 8:
        return
    residuals = plan.residuals()
    for index, text in enumerate(texts):
        residual = residuals.get(index, Residual())
        cells: dict[str, str | bytes] = {field_path(k): data for k, data in residual.fields.items()}
        cells |= {"params": text, "params (exact)": b"".join(residual.params.values())}
        run = plan.record.runs[index]
        check_row(cells, f"run {run.describe()}", plan.record, dialect, limit)


def check_row(
    cells: Mapping[str, str | bytes], what: str, record: Record, dialect: Dialect, limit: int
) -> None:
    """Refuse values, given by what they are called, that do not go into one row.

    Raises:
        StoreError: They do not; it names the largest.
    """
    sizes = {key: dialect.sent(cell) for key, cell in cells.items()}
    if sum(sizes.values()) > limit:
        largest = max(sizes, key=lambda key: sizes[key])
        raise StoreError(
            f"experiment {record.name!r}, {what}: its values take {sum(sizes.values()):,} bytes, "
            f"{largest} most of them; this {dialect.name} database takes {limit:,} "
            f"bytes a row{dialect.limit_advice}"
        )
