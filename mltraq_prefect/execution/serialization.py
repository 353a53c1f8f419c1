"""Parcels: the runs of a batch between steps, each at rest.

A run at rest is made of values that nobody can change, apart from each other run: a run that
cannot be pickled or read back costs no other, and an attempt that failed is begun again from what
was there before it. Kwargs are no part of it: they travel apart, once for all steps and runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.copies import AtRest, fresh, held, packed, taken
from mltraq_prefect.model.ledger_entry import RUN_COLUMNS, STEP_COLUMNS, LedgerEntry, StepEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run

Rest = Callable[[Mapping[str, Any]], AtRest]

_summary = attrgetter(*RUN_COLUMNS)
"""What a run takes along of its ledger entry: not the way to its database."""

_facts = attrgetter(*STEP_COLUMNS)


class Resting(NamedTuple):
    """A run at rest.

    Attributes:
        id_run: Its id.
        seed: Of its random numbers.
        params: What varies.
        fields: What it has tracked.
        locals: Scratch values.
        entry: What the ledger says of it: a summary, and facts of each step.
    """

    id_run: str
    seed: int
    params: AtRest
    fields: AtRest
    locals: AtRest
    entry: tuple[tuple[Any, ...], dict[str, tuple[Any, ...]]]

    def run(self) -> Run:
        """Return a run of new objects.

        Raises:
            UnreadableRun: Something in it cannot be made again from its pickle.
        """
        return Run(
            self.id_run,
            params=self._part("params", fresh),
            fields=self._part("fields", fresh),
            locals=self._part("locals", fresh),
            seed=self.seed,
        )

    def taken(self) -> Run:
        """Return the run for who gets it last; what cannot be read back makes it a failed one."""
        run = Run(self.id_run, params=self.params_or_none(), seed=self.seed, ledger=self.ledger())
        for name in ("fields", "locals"):
            try:
                setattr(run, name, Namespace(self._part(name, taken)))
            except UnreadableRun as error:
                entry = run.ledger
                entry.state, entry.error, entry.error_type = "failed", str(error), "UnreadableRun"
        return run

    def ledger(self) -> LedgerEntry:
        """Return what the ledger says of it."""
        summary, executed = self.entry
        entry = LedgerEntry(*summary)
        entry.steps = dict(entry.steps)
        entry.executed = {step: StepEntry(*facts) for step, facts in executed.items()}
        return entry

    def with_ledger(self, entry: LedgerEntry) -> Resting:
        """Return the run with another ledger entry."""
        executed = {step: _facts(facts) for step, facts in entry.executed.items()}
        return Resting(*self[:-1], (_summary(entry), executed))

    def with_results(self, fields: AtRest, scratch: AtRest) -> Resting:
        """Return the run with other fields and locals."""
        return Resting(self.id_run, self.seed, self.params, fields, scratch, self.entry)

    def describe(self) -> str:
        """The run for a person: its params, or its id."""
        return Run(self.id_run, params=self.params_or_none()).describe()

    def params_or_none(self) -> dict[str, Any]:
        """Return the params, or none if they cannot be read back."""
        try:
            return fresh(self.params)
        except Exception:
            return {}

    def _part(self, name: str, make: Callable[[AtRest], dict[str, Any]]) -> dict[str, Any]:
        try:
            return make(getattr(self, name))
        except Exception as error:
            raise UnreadableRun(
                f"{name} cannot be read back from their pickle: {type(error).__name__}: {error}"
            ) from error


class UnreadableRun(Exception):
    """Something in a run can be pickled, but not be made again from its pickle."""


Parcel = list[Resting]


def opened(parcel: Parcel) -> list[Run]:
    """Return the runs of a parcel for who gets them last."""
    return [resting.taken() for resting in parcel]


def rest(parcels: Iterable[Parcel], handled: int) -> list[Parcel]:
    """Return what is left of parcels when so many runs of the first one were handled."""
    if not handled:
        return [*parcels]
    first, *others = parcels
    return [first[handled:], *others] if handled < len(first) else others


def hold_runs(runs: Iterable[Run]) -> Parcel:
    """Put runs at rest that stay in this process, without their kwargs."""
    return [_resting(run, held) for run in runs]


def pack_runs(runs: Sequence[Run]) -> Parcel:
    """Put runs at rest that are to be executed by other processes, without their kwargs.

    Raises:
        InvalidInput: A run holds something that cannot be sent to another process.
    """
    return [_packed(run) for run in runs]


def _packed(run: Run) -> Resting:
    try:
        return _resting(run, packed)
    except Exception:
        parts = {"params": run.params, "fields": run.fields, "locals": run.locals}
        if culprit := unpicklable(parts):
            raise InvalidInput(
                f"run {run.describe()}: {culprit} cannot be sent to a worker process; "
                'create it inside a step, or use backend="threads"'
            ) from None
        raise


def _resting(run: Run, rest: Rest) -> Resting:
    parts = rest(run.params), rest(run.fields), rest(run.locals)
    return Resting(run.id_run, run.seed, *parts, ((), {})).with_ledger(run.ledger)


def unpicklable(parts: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Name what cannot be pickled, such as ``locals.connection (of type Connection)``."""
    for part, values in parts.items():
        for key, value in dict(values).items():
            try:
                packed({key: value})
            except Exception:
                return f"{part}.{key} (of type {type(value).__name__})"
    return None
