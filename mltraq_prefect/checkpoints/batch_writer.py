"""Writing of batches where they are executed: workers of a cluster write what they make themselves.

So no value passes through the process of the execution. It lists the runs before, and learns from
the ledger entries that come back what became of them. A worker that does not reach the database
says why, and its batch goes to the process of the execution, which writes it.

The scheduler of a cluster gives a batch to another worker when it has lost the first one. What is
written first counts: the second one writes nothing over it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from mltraq_prefect.checkpoints.resume import CheckpointedResults
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.errors import StorageUnavailable, StoreError
from mltraq_prefect.execution import RunFingerprints
from mltraq_prefect.execution.fanout.executed import Handed, StepName
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.fingerprints.runs import stamp
from mltraq_prefect.execution.results import Results
from mltraq_prefect.execution.serialization import FrozenRun
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.model.spool import own_spool
from mltraq_prefect.storage import Record, Seen, Snapshot, Store, Written
from mltraq_prefect.storage.tables.first_in import ExecutedBy, FirstIn
from mltraq_prefect.storage.tables.ledger_columns import steps_of
from mltraq_prefect.storage.whereabouts import Whereabouts

UNREACHABLE_SECONDS = 60.0
"""A database that could not be reached from a process is not tried again for so many seconds."""

_unreachable: dict[Whereabouts, tuple[str, float]] = {}

_reached: set[Whereabouts] = set()
"""Databases that this process has reached: if one goes away, it is waited for."""


class BatchFacts(NamedTuple):
    """What the writer of a batch has to know of it.

    Attributes:
        seen: What the database held of its runs, by id.
        digests: What params of runs lead to, by id, for those in which that is code.
        has_series: Whether the database may have rows that runs of the experiment have logged.
        has_files: Whether it may have files of them.
        done_before: Runs that were executed before.
    """

    seen: Mapping[str, Seen]
    digests: Mapping[str, str]
    has_series: bool
    has_files: bool
    done_before: frozenset[str] = frozenset()


class BatchReport(NamedTuple):
    """What became of a batch, beside the ledger entries of its runs.

    Attributes:
        written: What was written; None if it was nothing.
        done_elsewhere: Runs that somebody else had executed; what came of them here was dropped.
        has_series: Whether rows that runs have logged are written.
        has_files: Whether files were written.
    """

    written: Written | None
    done_elsewhere: Collection[str]
    has_series: bool
    has_files: bool


@dataclass(slots=True)
class _Content:
    """The runs of a batch, as an experiment of which nothing else is known."""

    name: str
    runs: Runs
    fields: Namespace = field(default_factory=Namespace)
    tags: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class SentWriter:
    """Writes batches in the processes that have executed them: a `BatchWriter`.

    Attributes:
        whereabouts: Of the database.
        record: The experiment, without its runs.
        steps: The steps of the execution.
        id_execution: Id of the execution, if it is noted.
        wait: How long a database that goes away is waited for, in seconds.
    """

    whereabouts: Whereabouts
    record: Record
    steps: Sequence[StepName]
    id_execution: str | None
    wait: float

    def begin(self, facts: BatchFacts, ids: Sequence[str]) -> tuple[BatchFacts, Collection[str]]:
        """Look whether runs were executed before; if the database does not tell, none were."""
        try:
            with self._store() as store:
                entries = store.entries(self.record.name, ids)
        except StoreError:
            return facts, ()
        first_in = self._first_in(facts)
        done = frozenset(
            id_run for id_run, entry in entries.items() if first_in.is_missed(id_run, entry.steps)
        )
        return facts._replace(done_before=done), done

    def is_superseded(self) -> bool:
        """Return whether another execution of the steps has begun later, as far as is noted."""
        if self.id_execution is None:
            return False
        with self._store() as store, store.patient(self.wait):
            later = store.steps_begun_after(self.record.id_experiment, self.id_execution)
        return later is None or not later.isdisjoint(step.name for step in self.steps)

    def __call__(
        self,
        facts: BatchFacts,
        runs: Sequence[Run],
        rows: Sequence[LoggedRows],
        logged: Collection[tuple[str, str]],
    ) -> Handed:
        """Write the runs of a batch.

        Args:
            facts: What is known of them.
            runs: The runs.
            rows: What they have logged, unless it is written already.
            logged: The runs and steps of which rows are written then.

        Raises:
            StoreError: The database cannot be reached from here, or refuses.
        """
        with self._store() as store, store.patient(self.wait):
            return self._written(store, facts, runs, rows, logged)

    @contextmanager
    def _store(self) -> Iterator[Store]:
        """Open the database, unless it could not be reached from this process just now."""
        missing, until = _unreachable.get(self.whereabouts, ("", 0.0))
        if time.monotonic() < until:
            raise StorageUnavailable(missing)
        try:
            was_reached = self.whereabouts in _reached
            with closing(Store.at(self.whereabouts, was_reached=was_reached)) as store:
                yield store
            _reached.add(self.whereabouts)
        except StorageUnavailable as error:
            if self.whereabouts not in _reached:
                until = time.monotonic() + UNREACHABLE_SECONDS
                _unreachable[self.whereabouts] = str(error), until
            raise

    def _written(
        self,
        store: Store,
        facts: BatchFacts,
        runs: Sequence[Run],
        rows: Sequence[LoggedRows],
        logged: Collection[tuple[str, str]],
    ) -> Handed:
        content = _Content(self.record.name, Runs(_begun(run) for run in runs))
        state = StoredState(store, self._record_of(facts), lambda: content)
        state.execute_by(ExecutedBy(first_in=self._first_in(facts)))
        results = _WorkerResults(content.runs, self, state, facts.digests)
        results.note_logged(logged)
        results.log(rows)
        results.collect(runs)
        results.flush()
        done = results.done_elsewhere | facts.done_before
        entries = store.entries(content.name, sorted(done))
        entries = {run.id_run: run.ledger for run in content.runs.values()} | entries
        ended = [_left(id_run, entry) for id_run, entry in entries.items()]
        report = BatchReport(state.unannounced, done, bool(logged), state.has_files)
        return Handed(ended, report)

    def _first_in(self, facts: BatchFacts) -> FirstIn:
        before = {id_run: steps_of(seen.ledger.steps) for id_run, seen in facts.seen.items()}
        return FirstIn([step.name for step in self.steps], before)

    def _record_of(self, facts: BatchFacts) -> Record:
        """Return the record of a batch: a write compares what is there now with what was seen."""
        snapshot = Snapshot(self.record.id_experiment)
        for id_run, seen in facts.seen.items():
            snapshot.runs.put(id_run, seen)
        return replace(
            self.record,
            runs=[],
            snapshot=snapshot,
            has_series=facts.has_series,
            has_files=facts.has_files,
        )


def _begun(run: Run) -> Run:
    """Return a run as it was before the execution, as far as results need that."""
    fields = run.fields if run.ledger.state == "failed" else None
    return Run(run.id_run, params=run.params, fields=fields, seed=run.seed)


def _left(id_run: str, entry: LedgerEntry) -> FrozenRun:
    return FrozenRun(id_run, 0, {}, {}, {}, {}, ((), {})).with_ledger(entry)


class _WorkerResults(CheckpointedResults):
    """Writes the runs of one batch in one transaction, with the rows that they have logged.

    Attributes:
        done_elsewhere: Runs that somebody else had executed.
    """

    def __init__(
        self, runs: Runs, writer: SentWriter, state: StoredState, digests: Mapping[str, str]
    ) -> None:
        self._fingerprints = {step.name: step.fingerprint for step in writer.steps}
        prints = RunFingerprints(self._fingerprints)
        super().__init__(
            runs, writer.steps, prints, state, Desk(own_spool(), None), writer.id_execution
        )
        self._digests = digests
        self.done_elsewhere: set[str] = set()

    def log(self, rows: Sequence[LoggedRows], *, soon: bool = False) -> None:
        """Take rows, which are written with their runs."""
        Results.log(self, rows, soon=soon)

    def note_logged(self, logged: Collection[tuple[str, str]]) -> None:
        """Note the runs and steps of which rows are written, perhaps before."""
        for id_run, step in logged:
            self._logging.setdefault(id_run, set()).add(step)

    def silent(self, result: Run) -> list[LoggedRows]:
        """Return nothing: what replaces rows of earlier executions is written with the run."""
        Results.log(self, super().silent(result))
        return []

    def _stamp(self, run: Run) -> None:
        super()._stamp(run)
        stamp(run.ledger, self._fingerprints, self._digests.get(run.id_run, ""))

    def _lose(self, ids: Collection[str]) -> None:
        self.done_elsewhere |= set(ids)
