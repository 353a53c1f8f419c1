"""State of an experiment in the database, as this process has last read or written it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import cast

from mltraq_prefect.checkpoints import known_executions
from mltraq_prefect.checkpoints.content import Content
from mltraq_prefect.checkpoints.released_fields import ReleasedFields
from mltraq_prefect.checkpoints.selection import NotLoaded, refuse_deleted, warn_of_deleted
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.logged_rows import Part, keep_here
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.provenance.facts import Facts
from mltraq_prefect.reports.provenance.execution import Execution
from mltraq_prefect.storage import Annotations, Mode, Record, Seen, Snapshot, Store, Written
from mltraq_prefect.storage.maintenance.deleting import Condition
from mltraq_prefect.storage.pickles import seal_record
from mltraq_prefect.storage.records import joined
from mltraq_prefect.storage.series.series_writer import SeriesWriter
from mltraq_prefect.storage.tables.first_in import ANYBODY, ExecutedBy


class StoredState:
    """State of an experiment in the database; all reads and writes of it go through here.

    Args:
        store: The database.
        record: The record that was read, or that of a new experiment.
        content: Returns the experiment in memory, which holds this state.

    Attributes:
        store: The database.
        id_experiment: UUID as text; that of the stored experiment once there is one.
        revision: How often the experiment had been written when it was read; None if never.
        name: Name of the experiment.
        fingerprints: Parts of the fingerprints of its runs, by digest.
        has_series, has_files: Whether the database may have rows and files of its runs.
        original_name: The name of which the ids of its runs are made, if that is another.
        executions: What is known of executions, by id: of those made here, and of those read.
        persisting: Held while all of it is written, with what the ledger says by then.
        executed_by: Who executes its runs, and may write what comes of them.
        unannounced: What was written and not announced yet.
    """

    def __init__(self, store: Store, record: Record, content: Callable[[], Content | None]) -> None:
        self.store = store
        self.id_experiment, self.revision = record.id_experiment, record.revision
        self.fingerprints = dict(record.fingerprints)
        self.has_series, self.has_files = record.has_series, record.has_files
        self._series: SeriesWriter | None = None
        self.persisting = threading.Lock()
        self.executed_by = ANYBODY
        self.original_name = record.original_name
        self.name, self._content = record.name, content
        self.executions, self._snapshot = dict(record.executions), record.snapshot
        self._not_loaded = NotLoaded(record.missing_fields, record.missing_runs)
        self.unannounced: Written | None = None
        self._kept_fingerprints = self._kept_executions = frozenset[str]()

    # -- what is known ---------------------------------------------------------------------------

    @property
    def content(self) -> Content:
        """The experiment in memory.

        Only it refers to this state, so that memory is free as soon as nobody uses it; runs that
        are used without it do not ask for it.
        """
        return cast("Content", self._content())

    @cached_property
    def _released(self) -> ReleasedFields:
        return ReleasedFields(self.store, self.name, self.content.runs, self._remember)

    @property
    def run_count(self) -> int:
        """Number of runs of the experiment, in memory or not."""
        return len(self.content.runs)

    @property
    def seen(self) -> Mapping[str, Seen]:
        """What the database held of runs that were read or written, by `id_run`."""
        return {} if self._snapshot is None else self._snapshot.runs

    def has(self, run: Run) -> bool:
        """Return whether the database has a run, as far as this process knows."""
        return run.id_run in self.seen or run.is_of(self._released)

    def has_alone(self, run: Run) -> bool:
        """Return whether the database has the fields of a run, and memory does not."""
        return self._released.has(run)

    def refuse_gone(self, runs: Sequence[Run], part: Part) -> None:
        """Refuse runs without a part that the database may have had; see `refuse_deleted`."""
        if self.has_series if part == "series" else self.has_files:
            refuse_deleted(self.store, self.name, runs, part)

    def refuse_replace(self, what: str) -> None:
        """Refuse to replace what was loaded in part; see `NotLoaded.refuse_replace`."""
        self._not_loaded.refuse_replace(self.name, what)

    def warn_of_missed(self, runs: Iterable[Run]) -> None:
        """Tell of fields that runs have asked for in vain, as they were not loaded."""
        self._not_loaded.warn_of_missed(self.name, runs)

    def check_persist(self, mode: Mode, *, store_pickle: bool) -> None:
        """Refuse to replace what was loaded in part; warn that a merge deletes no runs."""
        if store_pickle:
            self._not_loaded.refuse_pickle(self.name)
        if mode == "merge":
            warn_of_deleted(self.name, self.seen, self.content.runs)
        elif mode == "replace":
            self.refuse_replace('if_exists="replace"')

    def all_executions(self) -> list[Facts]:
        """Return what is known of executions here and in the database, the earliest first."""
        return known_executions.everything(self.store, self.id_experiment, self.executions)

    def execution(self, id_execution: str) -> Execution | None:
        """Return an execution with large kwargs and its code; None if it is not known."""
        known = self.store, self.id_experiment, self.executions
        facts = known_executions.find(*known, id_execution)
        return None if facts is None else Execution(facts, self.fingerprints)

    def record(self, runs: Iterable[Run] | None = None) -> Record:
        """Return the record of the experiment for storage.

        Args:
            runs: Some of its runs; all if None.
        """
        return Record(
            name=self.name,
            id_experiment=self.id_experiment,
            fields=self.content.fields,
            runs=list(self.content.runs.values() if runs is None else runs),
            revision=self.revision,
            snapshot=self._snapshot,
            missing_fields=self._not_loaded.fields,
            missing_runs=self._not_loaded.runs,
            fingerprints=self.fingerprints,
            has_series=self.has_series,
            has_files=self.has_files,
            annotations=Annotations(dict(self.content.tags), self.content.note),
            original_name=self.original_name,
            executions=self.executions,
        )

    # -- reading ---------------------------------------------------------------------------------

    def read(self) -> Record | None:
        """Read what is stored of its runs, without their fields; None if nothing is stored."""
        return self.read_some(self.content.runs)

    def read_some(self, ids: Iterable[str]) -> Record | None:
        """Read the same of some runs."""
        if not self.store.exists(self.name):
            return None
        return self.store.read(self.name, columns=[], ids=list(ids))

    def adopt_stored(self, stored: Record) -> None:
        """Adopt the id and the revision of a stored experiment."""
        self.id_experiment, self.revision = stored.id_experiment, stored.revision
        self.has_series, self.has_files = stored.has_series, stored.has_files

    def find_added(self) -> None:
        """Adopt the ledger entries of runs that were added here and are stored already."""
        if self.revision is None:
            return
        added = [run.id_run for run in self.content.runs.values() if not self.has(run)]
        self.adopt(self.store.entries(self.name, added))

    def adopt(self, entries: Mapping[str, LedgerEntry]) -> None:
        """Adopt ledger entries, by `id_run`; fields that were never in memory stay there."""
        for run in self.content.runs.values():
            entry = entries.get(run.id_run)
            if entry is None:
                continue
            run.ledger = entry
            if not (self.has(run) or run.fields or run.file_changes()):
                self._released.release([run])

    def adopt_executed(self, entries: Mapping[str, LedgerEntry]) -> None:
        """Adopt what other processes have made of runs; their fields stay in the database."""
        for id_run, entry in entries.items():
            self.content.runs[id_run].ledger = entry
            if self._snapshot is not None:
                self._snapshot.runs.drop(id_run)
        self.release(self.content.runs[id_run] for id_run in entries)

    def release(self, runs: Iterable[Run]) -> None:
        """Release fields of written runs from memory; they are read when they are used."""
        runs = list(runs)
        self._released.release(runs)
        for run in runs if self._snapshot is not None else ():
            self._snapshot_of(self.id_experiment).forget_own(run.id_run)

    def _load_released(self) -> None:
        for run in self.content.runs.values():
            _ = run.fields

    def load_executions(self) -> None:
        """Read what is known of the executions that runs refer to, to write it anew."""
        known = self.store, self.id_experiment, self.executions
        known_executions.load(*known, self.content.runs.values())

    def _remember(self, stored: Snapshot, id_run: str) -> None:
        snapshot = self._snapshot_of(stored.id_experiment)
        if stored.revision is not None:
            snapshot.note_read(stored.revision)
        snapshot.runs.put(id_run, stored.runs[id_run])

    def _snapshot_of(self, id_experiment: str) -> Snapshot:
        """Return the snapshot; that of an earlier experiment of this name is dropped."""
        if self._snapshot is None or self._snapshot.id_experiment != id_experiment:
            self._snapshot = Snapshot(id_experiment)
        return self._snapshot

    def _read_assigned(self, runs: Iterable[Run]) -> None:
        """Read what the database holds of runs whose fields were assigned and never read."""
        seen = self.seen
        unseen = [run for run in runs if run.is_of(self._released) and run.id_run not in seen]
        if unseen and self.store.exists(self.name):
            self._released.refresh(unseen)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, mode: Mode, signing_key: Callable[[], bytes] | None) -> Written:
        """Write the experiment; released fields are left as they are by a merge.

        Args:
            mode: What to do if the name is taken.
            signing_key: Returns the key of a pickle to store too; None stores no pickle.
        """
        if mode != "merge" or signing_key is not None:
            self._load_released()
            self.load_executions()
        runs = [run for run in self.content.runs.values() if not self.has_alone(run)]
        if mode == "merge":
            self._read_assigned(runs)
        record = self.record(runs)
        if mode == "merge":
            record.executions = self._new_executions()
        if signing_key is None:
            return self.store.write(record, mode)
        key = signing_key
        return self.store.write(
            record, mode, pickle=lambda known_as: seal_record(record, key(), known_as)
        )

    def settle(self, written: Written, mode: Mode) -> None:
        """Update this state after a write of the experiment."""
        self.id_experiment = written.id_experiment
        if written.changed:
            self._kept_executions = frozenset(self.executions)
        self.revision, self._snapshot = written.revision, written.snapshot
        self._note_own(written)
        if mode != "merge":
            self._not_loaded = NotLoaded((), 0)

    def list_runs(self, runs: list[Run]) -> None:
        """Write runs that are going to be executed, and remember what was written."""
        self._read_assigned(runs)
        record = self.record(runs)
        record.executions = self._new_executions()
        self._note(self.store.write(record, "merge"), runs, are_released=False)

    def write_some(self, runs: list[Run]) -> None:
        """Write some runs that were executed."""
        self._read_assigned(runs)
        record = self.record(runs)
        record.fingerprints = {
            digest: parts
            for digest, parts in self.fingerprints.items()
            if digest not in self._kept_fingerprints
        }
        record.executions = self._new_executions()
        written = self.store.write(record, "merge", by=self.executed_by)
        self._note(written, runs)

    def note_executions(self) -> None:
        """Write what is known of executions and fingerprints, for others to write their results."""
        record = self.record([])
        record.executions = self._new_executions()
        self.store.note_executions(record)
        self._kept_fingerprints |= frozenset(self.fingerprints)
        self._kept_executions |= frozenset(self.executions)

    def note_elsewhere(self, written: Written | None, ids: Iterable[str]) -> None:
        """Note that another process has written runs; their fields stay in the database."""
        runs = [self.content.runs[id_run] for id_run in ids]
        for run in runs if self._snapshot is not None else ():
            self._snapshot_of(self.id_experiment).runs.drop(run.id_run)
        if written is not None:
            self.revision = max(self.revision or 0, written.revision)
            self.unannounced = joined(self.unannounced, written)
        self.release(runs)

    def _new_executions(self) -> dict[str, Facts]:
        """Return what is known of executions that the database does not have yet."""
        kept = self._kept_executions
        return {key: facts for key, facts in self.executions.items() if key not in kept}

    def log(self, rows: Sequence[LoggedRows]) -> None:
        """Write rows that runs have logged, while these are executed."""
        if self._series is None:
            self._series = self.store.series_writer(self.name, self.executed_by)
        self._series.write(rows)
        self.has_series = True

    def name_flow_run(self, flow_run_id: str, ids: Sequence[str], id_execution: str | None) -> None:
        """Write the flow run of runs that were written without one; any thread may call it."""
        with self.persisting:
            if ids and self.revision is not None:
                known = self.name, self.id_experiment
                self.store.name_flow_run(*known, ids, flow_run_id, id_execution)

    def execute_by(self, by: ExecutedBy) -> None:
        """Write what comes of runs only as long as they are of whom executes them."""
        self.executed_by, self._series = by, None

    def replace(self) -> None:
        """Replace the stored experiment by the one in memory."""
        self._load_released()
        self.load_executions()
        record = self.record()
        self._note(self.store.write(record, "replace"), record.runs, are_released=False)

    def _note_own(self, written: Written) -> None:
        self.has_series |= bool(written.snapshot.rows)
        self.has_files |= bool(written.snapshot.files)

    def _note(self, written: Written, runs: Iterable[Run], *, are_released: bool = True) -> None:
        """Update this state after a write of runs that are released or executed next."""
        if written.id_experiment != self.id_experiment:
            self._kept_fingerprints = self._kept_executions = frozenset()
        self.id_experiment, self.revision = written.id_experiment, written.revision
        if written.changed:  # else all is as another process has written it, and has what it knows
            self._kept_fingerprints |= frozenset(self.fingerprints)
            self._kept_executions |= frozenset(self.executions)
        self.unannounced = joined(self.unannounced, written)
        self._note_own(written)
        snapshot = self._snapshot_of(written.id_experiment)
        if not are_released and not snapshot.runs:
            self._snapshot = written.snapshot
            return
        snapshot.fields = written.snapshot.fields
        snapshot.note_written(written.revision, changed=written.changed)
        snapshot.note_own(written.snapshot)
        snapshot.annotations = written.snapshot.annotations
        for run in runs:
            if are_released:
                snapshot.runs.drop(run.id_run)
            else:
                snapshot.runs.put(run.id_run, written.snapshot.runs[run.id_run])

    def to_announce(self, written: Written) -> Written:
        """Return what a write did, including checkpoints that were not announced yet."""
        told, self.unannounced = joined(self.unannounced, written), None
        return told

    def delete_runs(self, condition: Condition) -> list[str]:
        """Delete runs of the stored experiment, as `Store.delete_runs` does; return their ids."""
        known = None if self.revision is None else self.id_experiment
        gone = self.store.delete_runs(self.name, condition, id_experiment=known)
        if self._snapshot is not None:
            for id_run in gone:
                self._snapshot.forget(id_run)
        return gone

    def rename(self, new: str) -> None:
        """Rename the experiment where it is stored, as `Store.rename` does; runs keep their ids."""
        if self.revision is not None:
            self.store.rename(self.name, new, id_experiment=self.id_experiment)
        self.original_name = self.original_name or self.name
        self._released.rename(new)
        self.name, self._series = new, None

    def delete(self) -> None:
        """Delete the experiment from the database; memory keeps its runs.

        Raises:
            ExperimentNotFound: The database does not have it.
        """
        self._load_released()
        self.load_executions()
        runs = [*self.content.runs.values()]
        for run in runs:
            _ = run.ledger.executions
        if self.has_series or self.has_files:
            keep_here(runs)
        self.store.delete(self.name)
        self.revision = self._snapshot = None
        self.has_series = self.has_files = False
        self._kept_executions = self._kept_fingerprints = frozenset()
        self.__dict__.pop("_released", None)
