"""What storage takes and gives: an experiment as a record, and what the database holds of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Literal, NamedTuple

from mltraq_prefect.model.names import check_name
from mltraq_prefect.model.run import Run
from mltraq_prefect.provenance.facts import Facts
from mltraq_prefect.storage.tables.tagging import NOTHING, Annotations
from mltraq_prefect.storage.values.change_marks import Mark
from mltraq_prefect.storage.values.columns import picked

Mode = Literal["fail", "replace", "merge"]


LISTED = (
    *("name", "id_experiment", "table_name", "runs", "completed", "failed", "stopped", "pending"),
    *("fields", "revision", "created_at", "updated_at", "tags", "note", "bytes"),
)
"""Columns of the list of experiments."""


class LedgerMark(NamedTuple):
    """What decides whether a run's ledger row has changed; times and attempts do not."""

    params: str
    state: str
    steps: str
    step: str | None
    error: str | None


class Seen(NamedTuple):
    """What the database holds of one run.

    Attributes:
        fields: Keys of the fields that were read or written.
        marks: A mark for each of them.
        ledger: The mark of the run's ledger row.
        duration_s: How long it was executed, which tells whether it was executed again.
        position: Its position; None if its ledger row may differ from the mark.
        is_bare: Whether it is known to have no residual.
    """

    fields: tuple[str, ...]
    marks: tuple[Mark, ...]
    ledger: LedgerMark
    duration_s: float | None = None
    position: int | None = None
    is_bare: bool = False


class Part(NamedTuple):
    """What the database holds of some runs, in columns.

    Attributes:
        fields: Keys of the fields that were read or written.
        ids: The runs.
        marks: For each field a mark of each run.
        ledger: The columns of `LedgerMark`, which may be in another order.
        rows: The row of each run in those.
        durations: A column like those: how long the runs were executed, in seconds; or nothing.
        positions: A column like those, as in `Seen`; or nothing.
        bare: A column like those: which runs are known to have no residual; or nothing.
    """

    fields: tuple[str, ...]
    ids: Sequence[str]
    marks: Sequence[Sequence[Mark]]
    ledger: Sequence[Sequence[Any]]
    rows: Sequence[int]
    durations: Sequence[float | None] = ()
    positions: Sequence[int | None] = ()
    bare: Sequence[bool] = ()

    def column(self, key: str) -> Sequence[Mark] | None:
        """Return the marks of one field, or None if it was not seen."""
        return self.marks[self.fields.index(key)] if key in self.fields else None

    def seen(self, index: int) -> Seen:
        """Return what the database holds of one of the runs."""
        marks = tuple([column[index] for column in self.marks])
        row = self.rows[index]
        ledger = LedgerMark(*[column[row] for column in self.ledger])
        return Seen(
            self.fields,
            marks,
            ledger,
            self.durations[row] if self.durations else None,
            self.positions[row] if self.positions else None,
            self.bare[row] if self.bare else False,
        )

    def all_seen(self) -> Iterator[Seen]:
        """Yield what the database holds of each run."""
        marks: Iterable[tuple[Mark, ...]] = (
            zip(*self.marks, strict=True) if self.fields else repeat(())
        )
        ledger = map(
            tuple.__new__, repeat(LedgerMark), zip(*picked(self.ledger, self.rows), strict=True)
        )
        last = ((self.durations, None), (self.positions, None), (self.bare, False))
        others: list[Iterable[Any]] = [
            picked([cells], self.rows)[0] if cells else repeat(unknown) for cells, unknown in last
        ]
        rows = zip(repeat(self.fields), marks, ledger, *others, strict=False)
        return map(tuple.__new__, repeat(Seen), rows)


class SeenRuns(Mapping[str, Seen]):
    """What was seen of runs by `id_run`: kept in columns, made into rows one by one."""

    def __init__(self, part: Part | None = None) -> None:
        self._part = part
        self._places: dict[str, tuple[Part, int] | Seen] = {}

    def __getitem__(self, id_run: str) -> Seen:
        entry = self._index()[id_run]
        return entry if isinstance(entry, Seen) else entry[0].seen(entry[1])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index())

    def __len__(self) -> int:
        return len(self._index())

    def __contains__(self, id_run: object) -> bool:
        return id_run in self._index()

    def marks(self, key: str, ids: Sequence[str]) -> Sequence[Mark]:
        """Return the marks of one field of runs; None for what was not seen."""
        part = self._part
        if part is not None and part.ids == ids:
            return part.column(key) or [None] * len(ids)
        columns: dict[int, Sequence[Mark] | None] = {}
        marks = []
        for seen in map(self._index().get, ids):
            if isinstance(seen, Seen):
                marks.append(dict(zip(seen.fields, seen.marks, strict=True)).get(key))
            elif seen is None:
                marks.append(None)
            else:
                part, index = seen
                if id(part) not in columns:
                    columns[id(part)] = part.column(key)
                column = columns[id(part)]
                marks.append(None if column is None else column[index])
        return marks

    def fields(self, ids: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """Yield the keys of the fields that were seen, once for each run or part that has them."""
        parts = set()
        for seen in map(self._index().get, ids):
            if isinstance(seen, Seen):
                yield seen.fields
            elif seen is not None and id(seen[0]) not in parts:
                parts.add(id(seen[0]))
                yield seen[0].fields

    def put(self, id_run: str, seen: Seen) -> None:
        """Take over what a later read or write of a run saw."""
        known = self.get(id_run)
        self._places[id_run] = seen if known is None else _joined(known, seen)

    def drop(self, id_run: str) -> None:
        """Forget a run."""
        self._index().pop(id_run, None)

    def _index(self) -> dict[str, tuple[Part, int] | Seen]:
        if (part := self._part) is not None:
            indexes = zip(repeat(part), range(len(part.ids)), strict=False)
            self._places = dict(zip(part.ids, indexes, strict=True))
            self._part = None
        return self._places


@dataclass(slots=True)
class Snapshot:
    """What the database held of some runs when they were last read or written.

    Attributes:
        id_experiment: The experiment that they belong to.
        runs: What was seen of each run, by `id_run`.
        fields: Marks of the experiment's own fields; None if they were not seen.
        since: The revision from which on nobody else has written, as far as is known; None if
            somebody has.
        revision: The last revision of which that is known.
        rows: The state of logged rows in memory that it has, by `id_run`; see `OwnRows.changes`.
        files: The same for files in memory; see `OwnFiles.changes`.
        annotations: Its tags and note; None if they were not seen.
    """

    id_experiment: str
    runs: SeenRuns = field(default_factory=SeenRuns)
    fields: Mapping[str, Mark] | None = None
    annotations: Annotations | None = None
    since: int | None = None
    revision: int | None = None
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)

    def forget(self, id_run: str) -> None:
        """Forget all that the database has of a run."""
        self.runs.drop(id_run)
        self.forget_own(id_run)

    def forget_own(self, id_run: str) -> None:
        """Forget what of a run in memory the database has beside fields."""
        self.rows.pop(id_run, None)
        self.files.pop(id_run, None)

    def note_own(self, later: Snapshot) -> None:
        """Take over what a later write has written of runs beside fields."""
        self.rows |= later.rows
        self.files |= later.files

    def note_read(self, revision: int) -> None:
        """Note that runs which are added now were read in a revision."""
        if not self.runs:
            self.since = self.revision = revision
        elif self.since is None or self.revision is None:
            return
        elif not self.since <= revision <= self.revision:
            self.since = None

    def note_written(self, revision: int, *, changed: bool) -> None:
        """Note that this process has made a revision, or else found nothing to write in it."""
        before = revision - 1 if changed else revision
        if not self.runs:
            self.since = self.revision = revision
        elif self.since is not None and self.revision == before:
            self.revision = revision
        else:
            self.since = None

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        """Take a pickled state; an older one knows less."""
        self.__init__(state[1]["id_experiment"])  # type: ignore[misc]
        for name, value in state[1].items():
            setattr(self, name, value)


def _joined(known: Seen, seen: Seen) -> Seen:
    if known.fields == seen.fields:
        return seen
    marks = dict(zip(known.fields, known.marks, strict=True))
    marks.update(zip(seen.fields, seen.marks, strict=True))
    return seen._replace(fields=tuple(marks), marks=tuple(marks.values()))


@dataclass(frozen=True, slots=True)
class FingerprintParts:
    """What a digest in fingerprints was made of.

    Attributes:
        step: The step that it belongs to; None if it is one of kwargs.
        parts: Digests of the parts by their name.
        sources: Source text of code by its name, as far as it is known.
    """

    step: str | None
    parts: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(slots=True)
class Record:
    """An experiment as storage sees it.

    Attributes:
        name: Name of the experiment.
        id_experiment: Its id; a merge into an experiment that exists adopts the stored one.
        fields: What is tracked of the experiment as a whole.
        runs: Its runs, or some of them.
        revision: How often the experiment had been written when it was read; None if never.
        snapshot: What the database held of the runs, if they were read from it.
        missing_fields: Fields of its runs that the database has and that were not read.
        missing_runs: Number of runs that the database has and that were not read.
        fingerprints: What fingerprints of its runs were made of, by the digests in them.
        has_series: Whether the database has rows that runs of the experiment have logged.
        has_files: Whether it has files of them.
        annotations: Its tags and note.
        original_name: The name of which the ids of its runs are made, if it is another one.
        executions: What is known of executions, by id: of those that are not stored yet, or of all
            that its runs refer to.
    """

    name: str
    id_experiment: str
    fields: dict[str, Any] = field(default_factory=dict)
    runs: Sequence[Run] = field(default_factory=list)
    revision: int | None = None
    snapshot: Snapshot | None = None
    missing_fields: Sequence[str] = ()
    missing_runs: int = 0
    fingerprints: dict[str, FingerprintParts] = field(default_factory=dict)
    has_series: bool = False
    has_files: bool = False
    annotations: Annotations = NOTHING
    original_name: str | None = None
    executions: dict[str, Facts] = field(default_factory=dict)

    @property
    def ids_name(self) -> str:
        """The name of which the ids of its runs are made."""
        return self.original_name or self.name

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        """Take a pickled state: one of format 1 knows less, and its snapshot is of other marks.

        An older one also has properties, which nobody could set.
        """
        known = state[1]
        self.__init__(known["name"], known["id_experiment"])  # type: ignore[misc]
        if "missing_fields" not in known:
            known = known | {"snapshot": None}
        for name in known.keys() - {"properties"}:
            setattr(self, name, known[name])


def new_record(name: str, fields: Mapping[str, Any]) -> Record:
    """Return the record of an experiment that no database has seen.

    Raises:
        InvalidName: No database can carry the name.
    """
    check_name(name, "experiment name")
    return Record(name=name, id_experiment=str(uuid.uuid4()), fields=dict(fields), runs=[])


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did.

    Attributes:
        id_experiment: Id of the experiment in the database.
        table: Name of the table of its runs.
        revision: How often the experiment has been written.
        runs: Number of runs that were inserted or changed.
        columns: Keys of the fields that were written.
        steps: Completed steps that the database did not list before for one of those runs.
        changed: Whether anything was written at all.
        snapshot: What the database holds now of the runs of the record.
        is_staged: Whether a table has yet to get its own name.
    """

    id_experiment: str
    table: str
    revision: int
    runs: int
    columns: list[str]
    steps: list[str]
    changed: bool
    snapshot: Snapshot
    is_staged: bool = False


def joined(earlier: Written | None, later: Written) -> Written:
    """Return the combined effect of two consecutive writes, without their snapshots."""
    nothing = Snapshot(later.id_experiment)
    if earlier is None:
        return replace(later, snapshot=nothing)
    return replace(
        later,
        runs=earlier.runs + later.runs,
        columns=list(dict.fromkeys((*earlier.columns, *later.columns))),
        steps=list(dict.fromkeys((*earlier.steps, *later.steps))),
        changed=earlier.changed or later.changed,
        snapshot=nothing,
    )


def field_keys(fields: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the distinct keys of many dicts in the order in which they first appear."""
    last: tuple[str, ...] | None = None
    known: dict[str, None] = {}
    for item in fields:
        keys = tuple(item)
        if keys != last:
            known.update(dict.fromkeys(keys))
            last = keys
    return iter(known)
