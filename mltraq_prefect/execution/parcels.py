"""Parcels: the runs of a batch between steps.

A parcel is the list itself where the batch stays in this process, else its pickle, which whoever
passes it on does not open. Kwargs are no part of a pickled parcel: they travel with the step.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import by_value
from mltraq_prefect.pickling import unpickled
from mltraq_prefect.run import LedgerEntry, Run, StepEntry


class Packed(NamedTuple):
    """Pickled runs.

    Attributes:
        size: Number of runs.
        data: Their pickle.
    """

    size: int
    data: bytes


Parcel = list[Run] | Packed

_SUMMARY = LedgerEntry.__slots__[:-2]
"""What a run takes along of its ledger entry: not the way to its database."""

_FACTS = attrgetter(*StepEntry.__slots__)


def opened(parcel: Parcel) -> list[Run]:
    """Return the runs of a parcel; each call on a pickled one returns new objects."""
    if isinstance(parcel, Packed):
        return [_from_state(*state) for state in unpickled(parcel.data)]
    return parcel


def size_of(parcel: Parcel) -> int:
    """Return the number of runs of a parcel."""
    return parcel.size if isinstance(parcel, Packed) else len(parcel)


def rest(parcels: Iterable[Parcel], handled: int) -> list[Parcel]:
    """Return what is left of parcels when so many runs of the first one were handled."""
    if not handled:
        return [*parcels]
    first, *others = parcels
    runs = opened(first)[handled:]
    packed = pack_runs(runs) if isinstance(first, Packed) else runs
    return [packed, *others] if runs else others


def pack(value: Any) -> bytes:
    """Pickle, by value what is defined in ``__main__`` or in a notebook."""
    return by_value.dumps(value)


def pack_runs(runs: Sequence[Run]) -> Packed:
    """Pickle runs that are to be executed, without their kwargs.

    Raises:
        InvalidInput: A run holds something that cannot be sent to another process.
    """
    try:
        return _packed(runs)
    except Exception:
        for run in runs:
            if culprit := unpicklable(run):
                raise InvalidInput(
                    f"run {run.describe()}: {culprit} cannot be sent to a worker process; "
                    'create it inside a step, or use backend="threads"'
                ) from None
        raise


def pack_done(runs: Sequence[Run]) -> tuple[Packed | None, dict[str, str]]:
    """Pickle runs that completed a step.

    Returns:
        The parcel, or None if it would be empty, and by `id_run` why a run could not be packed.
    """
    try:
        return (_packed(runs) if runs else None), {}
    except Exception:
        culprits = {run.id_run: unpicklable(run) for run in runs}
        failures = {
            id_run: f"{culprit} cannot be passed on to the next step; "
            f"close and delete it (del run.{culprit.split(' ')[0]}) at the end of the step"
            for id_run, culprit in culprits.items()
            if culprit is not None
        }
        kept = [run for run in runs if run.id_run not in failures]
        return (_packed(kept) if kept else None), failures


def unpicklable(run: Run) -> str | None:
    """Name what keeps a run from being pickled: ``locals.connection (of type Connection)``."""
    for part in ("params", "fields", "locals"):
        for key, value in getattr(run, part).items():
            try:
                pack(value)
            except Exception:
                return f"{part}.{key} (of type {type(value).__name__})"
    return None


def _packed(runs: Sequence[Run]) -> Packed:
    states = [_state(run) for run in runs]
    try:
        data = pickle.dumps(states, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        return Packed(len(runs), pack(states))
    # Plain pickle is much faster, but keeps of what is defined in __main__ the name alone.
    return Packed(len(runs), pack(states) if b"__main__" in data else data)


def _state(run: Run) -> tuple[Any, ...]:
    values = (dict(run.params), dict(run.fields), dict(run.locals))
    summary = tuple([getattr(run.ledger, name) for name in _SUMMARY])
    executed = {step: _FACTS(entry) for step, entry in run.ledger.executed.items()}
    return (run.id_run, *values, run.seed, summary, executed)


def _from_state(
    id_run: str,
    params: dict[str, Any],
    fields: dict[str, Any],
    locals_: dict[str, Any],
    seed: int,
    summary: tuple[Any, ...],
    executed: dict[str, tuple[Any, ...]],
) -> Run:
    entries = {step: StepEntry(*facts) for step, facts in executed.items()}
    ledger = LedgerEntry(*summary)
    ledger.executed = entries
    return Run(id_run, params=params, fields=fields, locals=locals_, seed=seed, ledger=ledger)
