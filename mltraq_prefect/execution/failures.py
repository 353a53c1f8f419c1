"""Failures of an execution, grouped by distinct error, so that none hides another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mltraq_prefect.errors import FailureGroup, RunsFailed
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.tracebacks import HEAD, headline, message, users_frames
from mltraq_prefect.model.run import Run

EXAMPLES = 3
"""Number of runs of a group that are named."""

MESSAGE_CHARACTERS = 2_000
"""Longer error messages are cut; the ledger keeps the whole text."""


class _Kind(NamedTuple):
    """What the failures of one group have in common.

    Attributes:
        error: Type of the error, or what ended the worker.
        location: Line of code that raised it.
    """

    error: str
    location: str


class FailureLimit:
    """Counts failed runs, and says when to stop.

    Args:
        most: Number of failures at which to stop; None means never.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._failed = 0

    @property
    def is_reached(self) -> bool:
        """Whether no more runs are to be started."""
        return self._most is not None and self._failed >= self._most

    def note(self, runs: Iterable[Run]) -> None:
        """Count runs that have ended."""
        if self._most is not None:
            self._failed += sum(run.ledger.state == "failed" for run in runs)


def runs_failed(experiment: str, runs: Iterable[Run]) -> RunsFailed | None:
    """Return the error for all failed runs, or None if none has failed.

    Args:
        experiment: Name of the experiment.
        runs: The runs that were to be executed.
    """
    runs = list(runs)
    failed = [run for run in runs if run.ledger.state == "failed"]
    if not failed:
        return None
    errors = [run.ledger.error or "" for run in failed]
    groups = _grouped(errors, lambda index: failed[index].describe())
    shown = failed[: RunsFailed.SHOWN]
    failures = [(f"run {run.describe()}", run.ledger.error or "") for run in shown]
    pending = sum(run.ledger.state == "pending" for run in runs)
    return RunsFailed(experiment, len(failed), len(runs), failures, groups, pending)


def interruption_message(experiment: str, runs: Collection[Run], options: ExecutionOptions) -> str:
    """Return one line on an interrupted execution: what is kept, and how to continue.

    Args:
        experiment: Name of the experiment.
        runs: All of its runs.
        options: Options of the execution.
    """
    done = sum(run.ledger.state == "completed" for run in runs)
    text = f"experiment {experiment!r}: interrupted; {done:,} of {len(runs):,} runs completed"
    if options.checkpoint:
        return f"{text} and are stored: execute the same again to go on"
    return f"{text}, in memory only: persist() stores them, checkpoint=True does so by itself"


def grouped_failures(failures: Sequence[tuple[str, str]]) -> list[FailureGroup]:
    """Return failures grouped by type and line of code, the largest group first.

    Args:
        failures: Description and error of each failed run.
    """
    return _grouped([error for _, error in failures], lambda index: failures[index][0])


def _grouped(errors: Sequence[str], describe: Callable[[int], str]) -> list[FailureGroup]:
    members: dict[_Kind, list[int]] = {}
    locations: dict[str, str] = {}
    for number, error in enumerate(errors):
        body = error.rstrip().rpartition("\n")[0]  # messages differ where frames do not
        location = locations.get(body) if body else ""
        if location is None:
            location = locations[body] = _location(error)
        kind = _Kind(_type(error) or headline(error), location)
        members.setdefault(kind, []).append(number)
    groups = [_group(kind, numbers, errors, describe) for kind, numbers in members.items()]
    return sorted(groups, key=lambda group: -group.count)


def _group(
    kind: _Kind, numbers: Sequence[int], errors: Sequence[str], describe: Callable[[int], str]
) -> FailureGroup:
    error = errors[numbers[0]]
    examples = tuple(describe(number) for number in numbers[:EXAMPLES])
    text, line = _shown(error), _cut(headline(error))
    return FailureGroup(len(numbers), _type(error), line, kind.location, examples, text)


def _type(error: str) -> str | None:
    """Return the type of the error at the end of a traceback, as it is written there."""
    return headline(error).partition(":")[0] if HEAD in error else None


def _location(error: str) -> str:
    frames = users_frames(error)
    if not frames:
        return ""
    last = frames[-1]
    return f"{Path(last.file).name}:{last.line} in {last.function}"


def _shown(error: str) -> str:
    """Return step, the user's own frames and the error."""
    start, head, _ = error.partition(HEAD)
    if not head:
        return _cut(error)
    frames = [frame.text for frame in users_frames(error)]
    return "\n".join([start + HEAD, *frames, _cut(message(error))])


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARACTERS else f"{text[:MESSAGE_CHARACTERS]} ..."
