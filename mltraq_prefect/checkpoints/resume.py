"""Checkpoints and resuming: results are written as they arrive, and not computed twice.

The ledger lists the completed steps of each run, with fingerprints. A run that has completed all
steps of an execution is not executed again. After a run is written, its fields are released from
memory; they are read from the table when they are used. So memory holds only what is in flight. A
failed run keeps the fields that it started with, so that the next attempt starts in the same way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from mltraq_prefect.checkpoints.selection import due_steps
from mltraq_prefect.checkpoints.series import WaitingRows
from mltraq_prefect.checkpoints.shared import SharedExecution
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.errors import InvalidInput, StoreError
from mltraq_prefect.execution import Manifest, RunFingerprints, Step, differences
from mltraq_prefect.execution.fanout.executed import StepName
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.results import Results, take_files, take_logs
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.storage import Record
from mltraq_prefect.storage.records import FingerprintParts
from mltraq_prefect.storage.tables.claims import NotOurs

FLUSH_SECONDS = 0.5
"""Results are written after this time at most, in seconds; a write shall not take longer."""

FEWEST_RUNS, MOST_RUNS = 250, 8_000
"""Limits of the number of runs that are written at once."""


class ResumePlan:
    """Which runs of an execution have completed its steps in the database.

    Args:
        record: The stored experiment without fields; None if it is not stored.
        steps: Steps of the execution.
        prints: Their fingerprints in each run.
        accept: Whether results of other versions of the steps count.
    """

    def __init__(
        self, record: Record | None, steps: Sequence[Step], prints: RunFingerprints, accept: bool
    ) -> None:
        self._steps = [step.name for step in steps]
        self._prints = prints
        self._parts = {} if record is None else dict(record.fingerprints)
        self._parts |= parts_of(steps, self._parts)
        self._accept = accept
        self.entries = {} if record is None else {run.id_run: run.ledger for run in record.runs}

    def is_complete(self, run: Run) -> bool:
        """Return whether the run has completed all steps of the execution."""
        entry = self.entries.get(run.id_run)
        done = {} if entry is None else entry.steps
        due = self._due(entry)
        if self._accept:
            return done.keys() >= set(due)
        return all(self._is_same(name, run, done) for name in due)

    def _due(self, entry: LedgerEntry | None) -> Sequence[str]:
        """Return the steps that a run is to complete: none follows one that has stopped it."""
        return self._steps if entry is None else due_steps(entry, self._steps)

    def others(self, run: Run) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield steps of whose results that of a run was computed otherwise, with both prints."""
        entry = None if self._accept else self.entries.get(run.id_run)
        done = {} if entry is None else entry.steps
        for name in self._steps:
            if name in done and not self._is_same(name, run, done):
                yield name, (done[name], self._prints.of(name, run.params))

    def parts(self) -> dict[str, Mapping[str, str]]:
        """Return what fingerprints were made of, by digest."""
        parts = {digest: item.parts for digest, item in self._parts.items()}
        return parts | {digest: item.parts for digest, item in self._prints.manifests.items()}

    def _is_same(self, step: str, run: Run, done: Mapping[str, str]) -> bool:
        return self._prints.is_same(step, run.params, done.get(step))


def refuse_other(experiment: str, resumed: Iterable[tuple[ResumePlan, Iterable[Run]]]) -> None:
    """Refuse to mix results of different steps, kwargs or seeds.

    Args:
        experiment: Name of the experiment.
        resumed: Runs, some at a time, and what the database has of them.

    Raises:
        InvalidInput: Stored results of some runs were computed differently.
    """
    changed: dict[str, dict[tuple[str, str], None]] = {}
    parts: dict[str, Mapping[str, str]] = {}
    affected = 0
    for plan, runs in resumed:
        before = affected
        for run in runs:
            others = [*plan.others(run)]
            affected += bool(others)
            for name, pair in others:
                changed.setdefault(name, {})[pair] = None
        if affected > before:
            parts |= plan.parts()
    if changed:
        found = {
            name: [what for pair in pairs for what in differences(*pair, parts)]
            for name, pairs in changed.items()
        }
        raise InvalidInput(_changed(experiment, affected, found))


def _changed(experiment: str, affected: int, found: Mapping[str, Iterable[str]]) -> str:
    texts = {name: ", ".join(dict.fromkeys(parts)) for name, parts in found.items()}
    what = "; ".join(f"step {name!r}: {text}" for name, text in texts.items())
    return (
        f"experiment {experiment!r}: the database has results of {affected:,} of these runs that "
        f"were computed differently ({what}). To keep them and execute only what is missing, use "
        'checkpoint="accept"; to discard the stored experiment, but for tags and note, and execute '
        'every run, use checkpoint="replace"'
    )


class CheckpointedResults(Results):
    """Writes results to the database as they arrive, and releases them from memory.

    Args:
        runs: The runs of the experiment.
        steps: Steps of the execution.
        prints: Their fingerprints in each run.
        state: Writes runs and releases them.
        files: Where steps put files.
        id_execution: Id of the execution, if it is noted.
        shared: Hears of runs that are written, or not this process's any more; None if no other
            process executes them.
    """

    def __init__(
        self,
        runs: Runs,
        steps: Sequence[StepName],
        prints: RunFingerprints,
        state: StoredState,
        files: Desk,
        id_execution: str | None = None,
        shared: SharedExecution | None = None,
    ) -> None:
        names = [step.name for step in steps]
        super().__init__(
            runs,
            names,
            prints,
            have_logged=state.has_series,
            files=files,
            id_execution=id_execution,
        )
        self._steps = steps
        self._state = state
        self._shared = shared
        self._lock = threading.RLock()
        self._rows = WaitingRows(state)
        self._waiting: list[Run] = []
        self._waiting_since = 0.0
        self._is_refused = False
        self._at_once = FEWEST_RUNS

    def log(self, rows: Sequence[LoggedRows], *, soon: bool = False) -> None:
        """Take rows, which are written soon; any thread may call it.

        What the database says is raised when runs are collected: a step is not to blame.
        """
        with self._lock:
            for logged in rows:
                self._logging.setdefault(logged.id_run, set()).add(logged.step)
            self._rows.put(rows)
            with suppress(StoreError):
                self._rows.tick(soon=soon)

    def flush_rows(self) -> bool:
        """Write the rows that were taken; return whether none was refused, now or before."""
        with self._lock:
            try:
                self._rows.flush()
            except StoreError:  # `tick` raises it
                return False
        return True

    def collect(self, results: Iterable[Run]) -> None:
        """Take runs that have ended; they are written within `FLUSH_SECONDS`."""
        with self._lock:
            self._take(results)
            self.tick()

    def _take(self, results: Iterable[Run]) -> None:
        if not self._waiting:
            self._waiting_since = time.monotonic()
        for result in results:
            run = self._runs[result.id_run]
            result.ledger.stored = run.ledger.stored
            run.ledger = result.ledger
            self._stamp(run)
            if run.ledger.state == "failed":
                run.ledger.discard(self._names)
                take_logs(run, result, self._names)
            else:
                run.fields = result.fields
                take_files(run, result)
            self._have_logged |= self._shared is not None and self._state.has_series
            self._rows.put(self.silent(result))
            self._waiting.append(run)

    def name_flow_run(self, flow_run_id: str, runs: Sequence[str]) -> None:
        """Write the flow run of runs that have ended before there was one."""
        with self._lock:
            waiting = {run.id_run for run in self._waiting}
            written = [each for each in runs if each not in waiting]
            self._state.name_flow_run(flow_run_id, written, self._id_execution)

    def tick(self) -> None:
        """Write results that have waited for `FLUSH_SECONDS`, and rows sooner."""
        with self._lock:
            self._rows.tick()
            if self._waiting and time.monotonic() - self._waiting_since >= FLUSH_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write the waiting results, unless the database has refused once already.

        The rows that runs have logged come first: a run that is there has all of them.
        """
        with self._lock:
            if not self._is_refused:
                self._rows.flush()
            self._flush_runs()

    def _flush_runs(self) -> None:
        while self._waiting and not self._is_refused:
            chunk = self._waiting[: self._at_once]
            start = time.monotonic()
            self._write_all(chunk)
            self._state.release(chunk)
            del self._waiting[: len(chunk)]
            self._adapt(len(chunk), time.monotonic() - start)

    def _adapt(self, count: int, seconds: float) -> None:
        """Write as many runs at once as take `FLUSH_SECONDS`, but at most twice as many as before.

        A write of few large values is slow, and doubles what they take in memory.
        """
        fitting = int(count * FLUSH_SECONDS / max(seconds, 1e-3))
        self._at_once = max(FEWEST_RUNS, min(fitting, 2 * self._at_once, MOST_RUNS))

    def _write_all(self, runs: list[Run]) -> None:
        try:
            self._write_own(runs)
        except InvalidInput:
            for run in runs:
                self._write_one(run)
        except StoreError:
            self._is_refused = True
            raise

    def _write_own(self, runs: list[Run]) -> None:
        """Write runs, but for those that another process executes now."""
        while runs:
            try:
                self._state.write_some(runs)
            except NotOurs as error:
                lost = error.ids
            else:
                break
            self._lose(lost)
            runs = [run for run in runs if run.id_run not in lost]
        if self._shared is not None:
            self._shared.settle(runs)

    def _lose(self, ids: Collection[str]) -> None:
        """Note that runs were not written: somebody else executes them, or has done so."""
        if self._shared is not None:
            self._shared.lose(ids)

    def _write_one(self, run: Run) -> None:
        """Write a run; it fails if the tables cannot keep its fields."""
        try:
            self._write_own([run])
        except InvalidInput as error:
            run.fields = Namespace()
            run.ledger.error, run.ledger.error_type = str(error), type(error).__name__
            run.ledger.fail(self._steps[-1].name, self._steps[-1].fingerprint)
            run.ledger.discard(self._names)
            self._write_own([run])


Hide = Callable[[str], str]
"""Returns source code without secrets."""


def parts_of(
    steps: Iterable[Step], known: Container[str] = frozenset(), hide: Hide = str
) -> dict[str, FingerprintParts]:
    """Return the parts of the fingerprints of steps, by digest.

    Args:
        steps: The steps.
        known: Digests to leave out.
        hide: Hides secrets in their sources.
    """
    found = {}
    for step in steps:
        for manifest, name in ((step.code, step.name), (step.inputs, None)):
            if manifest.digest in known:
                continue
            found[manifest.digest] = _parts(name, manifest, hide)
    return found


def parts_of_params(prints: RunFingerprints, hide: Hide = str) -> dict[str, FingerprintParts]:
    """Return the parts that params of runs add to fingerprints, by digest."""
    return {digest: _parts(None, own, hide) for digest, own in prints.manifests.items()}


def _parts(step: str | None, manifest: Manifest, hide: Hide) -> FingerprintParts:
    sources = {name: hide(text) for name, text in manifest.sources().items()}
    return FingerprintParts(step, manifest.parts, sources)
