"""Chunks: the runs of a batch between steps, each of them frozen.

Nobody can change a frozen run. Each one is pickled on its own, so a run that cannot be pickled or
unpickled affects no other, and a failed attempt is repeated from the values before it. Kwargs are
not included: they are sent separately, once for all steps and runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.frozen_values import (
    FrozenValues,
    consume_values,
    freeze,
    freeze_pickled,
    thaw,
)
from mltraq_prefect.model.ledger_entry import RUN_COLUMNS, STEP_COLUMNS, LedgerEntry, StepEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.spool import FileEntry

Freeze = Callable[[Mapping[str, Any]], FrozenValues]

_summary = attrgetter(*RUN_COLUMNS)
"""What a run takes along of its ledger entry: not the way to its database."""

_facts = attrgetter(*STEP_COLUMNS)


class FrozenRun(NamedTuple):
    """A run whose values cannot be changed.

    Attributes:
        id_run: Id of the run.
        seed: Seed of its random numbers.
        params: Its params.
        fields: Its fields.
        locals: Its scratch values.
        files: Its files that are in memory, by name; None stands for a deleted one.
        entry: Its ledger entry as tuples: a summary, and an entry for each step.
    """

    id_run: str
    seed: int
    params: FrozenValues
    fields: FrozenValues
    locals: FrozenValues
    files: Mapping[str, FileEntry | None]
    entry: tuple[tuple[Any, ...], dict[str, tuple[Any, ...]]]

    def run(self) -> Run:
        """Return a run of new objects.

        Raises:
            UnreadableRun: A value cannot be unpickled.
        """
        run = Run(
            self.id_run,
            params=self._part("params", thaw),
            fields=self._part("fields", thaw),
            locals=self._part("locals", thaw),
            seed=self.seed,
        )
        if self.files:
            run.own_files.begin(self.files)
        return run

    def consume(self) -> Run:
        """Return the run, failed if it cannot be unpickled; the frozen one is not used again."""
        run = Run(self.id_run, params=self.params_or_none(), seed=self.seed, ledger=self.ledger())
        if self.files:
            run.own_files.put(self.files)
        for name in ("fields", "locals"):
            try:
                setattr(run, name, Namespace(self._part(name, consume_values)))
            except UnreadableRun as error:
                entry = run.ledger
                entry.state, entry.error, entry.error_type = "failed", str(error), "UnreadableRun"
        return run

    def ledger(self) -> LedgerEntry:
        """Return its ledger entry."""
        summary, executed = self.entry
        entry = LedgerEntry(*summary)
        entry.steps = dict(entry.steps)
        entry.executed = {step: StepEntry(*facts) for step, facts in executed.items()}
        return entry

    def with_ledger(self, entry: LedgerEntry) -> FrozenRun:
        """Return the run with another ledger entry."""
        executed = {step: _facts(facts) for step, facts in entry.executed.items()}
        return FrozenRun(*self[:-1], (_summary(entry), executed))

    def with_results(
        self,
        fields: FrozenValues,
        scratch: FrozenValues,
        files: Mapping[str, FileEntry | None],
    ) -> FrozenRun:
        """Return the run with other fields, locals and files."""
        return self._replace(fields=fields, locals=scratch, files=files)

    def describe(self) -> str:
        """Return a description of the run: its params, or its id."""
        return Run(self.id_run, params=self.params_or_none()).describe()

    def params_or_none(self) -> dict[str, Any]:
        """Return the params, or an empty dict if they cannot be unpickled."""
        try:
            return thaw(self.params)
        except Exception:
            return {}

    def _part(self, name: str, make: Callable[[FrozenValues], dict[str, Any]]) -> dict[str, Any]:
        try:
            return make(getattr(self, name))
        except Exception as error:
            raise UnreadableRun(
                f"{name} cannot be read back from their pickle: {type(error).__name__}: {error}"
            ) from error


class UnreadableRun(Exception):
    """A value of a run can be pickled, but not unpickled."""


Chunk = list[FrozenRun]


def consume_runs(chunk: Chunk) -> list[Run]:
    """Return the runs of a chunk, which is not used again."""
    return [frozen.consume() for frozen in chunk]


def remaining(chunks: Iterable[Chunk], handled: int) -> list[Chunk]:
    """Return what is left of chunks after some runs of the first one were handled."""
    if not handled:
        return [*chunks]
    first, *others = chunks
    return [first[handled:], *others] if handled < len(first) else others


def freeze_runs(runs: Iterable[Run]) -> Chunk:
    """Freeze runs that stay in this process, without their kwargs."""
    return [_freeze_run(run, freeze) for run in runs]


def pickle_runs(runs: Sequence[Run]) -> Chunk:
    """Freeze runs for other processes, without their kwargs.

    Raises:
        InvalidInput: A run holds something that cannot be sent to another process.
    """
    return [_pickle_run(run) for run in runs]


def _pickle_run(run: Run) -> FrozenRun:
    try:
        return _freeze_run(run, freeze_pickled)
    except Exception:
        parts = {"params": run.params, "fields": run.fields, "locals": run.locals}
        if culprit := unpicklable(parts):
            raise InvalidInput(
                f"run {run.describe()}: {culprit} cannot be sent to a worker process; "
                'create it inside a step, or use backend="threads"'
            ) from None
        raise


def _freeze_run(run: Run, remaining: Freeze) -> FrozenRun:
    parts = remaining(run.params), remaining(run.fields), remaining(run.locals)
    own = run.own_files.entries if run.file_changes() else {}
    files = {name: entry and entry.sendable() for name, entry in own.items()}
    return FrozenRun(run.id_run, run.seed, *parts, files, ((), {})).with_ledger(run.ledger)


def unpicklable(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name what cannot be pickled, such as ``locals.connection (of type Connection)``."""
    for part, values in parts.items():
        for key, value in dict(values).items():
            try:
                freeze_pickled({key: value})
            except Exception:
                return f"{part}.{key} (of type {type(value).__name__})"
    return None
