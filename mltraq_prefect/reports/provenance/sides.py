"""The two sides of a comparison: what is known of runs, of an experiment, or of an execution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mltraq_prefect.codecs import encode
from mltraq_prefect.errors import InvalidInput, UnsupportedType
from mltraq_prefect.model.run import Run
from mltraq_prefect.reports.provenance.code import Code, KnownCode, of_fingerprint
from mltraq_prefect.reports.provenance.execution import Execution, NotKept


class Origin(Protocol):
    """Knows where the results of runs come from."""

    fingerprints: KnownCode

    def execution(self, id_execution: str) -> Execution | None:
        """Return an execution, if it is known."""


@dataclass(frozen=True, slots=True)
class Made:
    """How the results of a step were made.

    Attributes:
        fingerprint: What was executed; None if it is not known.
        code: What that was made of.
        execution: The execution; None if it is not known.
    """

    fingerprint: str | None
    code: list[Code]
    execution: Execution | None


@dataclass(frozen=True, slots=True)
class Side:
    """One of two things that are compared.

    Attributes:
        label: What it is, for a person.
        params: Values of params; of those that vary a text that says so.
        steps: How the results of each step were made, by its name.
    """

    label: str
    params: Mapping[str, Any]
    steps: Mapping[str, Made]


def side_of(thing: object) -> Side:
    """Return what is known of something that can be compared.

    Args:
        thing: A run, an experiment, a collection of runs, or an execution.

    Raises:
        InvalidInput: It is something else, or there are no runs in it.
    """
    if isinstance(thing, Execution):
        steps = {
            name: Made(print_, of_fingerprint(print_, thing.known), thing)
            for name, print_ in thing.steps.items()
        }
        return Side(f"execution {thing.id_execution[:8]}", {}, steps)
    if isinstance(thing, Run):
        return _of_runs(f"run {thing.describe()}", [thing], thing.origin)
    runs, origin = getattr(thing, "runs", thing), getattr(thing, "origin", None)
    name = getattr(thing, "name", None)
    if isinstance(runs, Mapping):
        runs = list(runs.values())
    if not isinstance(runs, Iterable) or isinstance(runs, (str, bytes)):
        raise InvalidInput(
            f"diff compares runs, experiments, and executions, not {type(thing).__name__}; "
            "experiment.runs has the runs, experiment.execution(id) an execution"
        )
    runs = list(runs)
    if not all(isinstance(run, Run) for run in runs) or not runs:
        raise InvalidInput("diff compares runs, and there are none in what was given")
    label = f"experiment {name}" if isinstance(name, str) else f"{len(runs):,} runs"
    return _of_runs(label, runs, origin or runs[0].origin)


def _of_runs(label: str, runs: list[Run], origin: Origin | None) -> Side:
    found: dict[str, dict[tuple[str | None, str | None], None]] = {}
    for run in runs:
        for step, print_ in run.ledger.steps.items():
            found.setdefault(step, {})
            if step not in run.ledger.executions:
                found[step][print_, None] = None
        for step, entry in run.ledger.executions.items():
            key = (run.ledger.steps.get(step, entry.fingerprint), entry.id_execution)
            found.setdefault(step, {})[key] = None
    known: dict[str, Execution | None] = {}
    steps: dict[str, Made] = {}
    for step, pairs in found.items():
        steps[step] = _latest([_made(*pair, origin, known) for pair in pairs])
    return Side(label, _params(runs), steps)


def _made(
    fingerprint: str | None,
    id_execution: str | None,
    origin: Origin | None,
    known: dict[str, Execution | None],
) -> Made:
    if origin is None:
        return Made(fingerprint, [], None)
    if id_execution is not None and id_execution not in known:
        known[id_execution] = origin.execution(id_execution)
    execution = known.get(id_execution) if id_execution is not None else None
    return Made(fingerprint, of_fingerprint(fingerprint, origin.fingerprints), execution)


def _latest(made: list[Made]) -> Made:
    """Return how results were made last: what is not known was made before that was noted."""
    with_time = [own for own in made if own.execution is not None]
    if not with_time:
        return made[-1]
    return max(with_time, key=lambda own: own.execution.started_at if own.execution else 0)


def _params(runs: list[Run]) -> dict[str, Any]:
    """Return the params of runs; of those in which they differ, how many values there are."""
    keys = dict.fromkeys(key for run in runs for key in dict(run.params))
    found: dict[str, Any] = {}
    for key in keys:
        values = [run.params[key] for run in runs if key in run.params]
        distinct = len(set(map(identity, values))) + (len(values) < len(runs))
        found[key] = values[0] if distinct == 1 else NotKept(f"{distinct:,} values")
    return found


def identity(value: Any) -> object:
    """Return what is equal for equal values, of the same type."""
    if type(value) in (str, int, bool, type(None)):
        return type(value), value
    try:
        return encode(value)
    except UnsupportedType:
        return repr(value)
