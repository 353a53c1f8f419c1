"""Failures of an execution, grouped by distinct error, so that none hides another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_128_digest

from mltraq_prefect.errors import FailureGroup, RunsFailed, RunsMissing
from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.tracebacks import HEAD, headline, message, users_frames
from mltraq_prefect.model.run import Run
from mltraq_prefect.texts import shortened

EXAMPLES = 3
"""Number of runs of a group that are named."""

MOST_LOCATIONS = 1_000
"""Tracebacks of which it is remembered where they lead to."""

MESSAGE_CHARACTERS = 2_000
"""Longer error messages are cut; the ledger keeps the whole text."""

MOST_GROUPS = 1_000
"""Failures of more kinds are counted together: each may have a text of its own."""


class _Kind(NamedTuple):
    """What the failures of one group have in common.

    Attributes:
        error: Type of the error, or what ended the worker.
        location: Line of code that raised it.
    """

    error: str
    location: str


_OTHERS = _Kind(f"errors of more than {MOST_GROUPS:,} kinds: the ledger has each of them", "")


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


class Tally:
    """Counts runs by what became of them, and groups the failures; keeps no run.

    Args:
        runs: The runs that were to be executed.
        steps: Names of the steps that were, as far as that is of interest.

    Attributes:
        states: Number of runs by state.
        steps: As given.
        example: Description of the first run that is pending; None if none is.
    """

    def __init__(self, runs: Iterable[Run] = (), steps: Sequence[str] = ()) -> None:
        self.states: Counter[str] = Counter()
        self.steps = steps
        self.example: str | None = None
        self._shown: list[tuple[str | None, tuple[str, str]]] = []
        self._groups = _Groups()
        self.note(runs)

    @property
    def total(self) -> int:
        """Number of runs."""
        return self.states.total()

    def note(self, runs: Iterable[Run]) -> None:
        """Count runs."""
        for run in runs:
            state = run.ledger.state
            self.states[state] += 1
            if state == "pending" and self.example is None:
                self.example = run.describe()
            elif state == "failed":
                step, error = run.ledger.step, run.ledger.error or ""
                self._groups.add(error, run.describe, step)
                if len(self._shown) < RunsFailed.SHOWN:
                    self._shown.append((step, (f"run {run.describe()}", error)))

    def keep(self, earlier: Tally, executed: Collection[str]) -> None:
        """Count failures of earlier executions too, but for those that were tried again.

        Args:
            earlier: Has them.
            executed: Names of the steps that were executed since, in all runs that failed in them.
        """
        self.states["failed"] += self._groups.keep(earlier._groups, executed)
        kept = [shown for shown in earlier._shown if shown[0] not in executed]
        self._shown = (self._shown + kept)[: RunsFailed.SHOWN]

    def error(self, experiment: str) -> RunsFailed | None:
        """Return the error for all failed runs, or None if none has failed.

        Args:
            experiment: Name of the experiment.
        """
        if not (failed := self.states["failed"]):
            return None
        shown = [own for _, own in self._shown]
        more = shown, self._groups.sorted(), self.states["pending"]
        return RunsFailed(experiment, failed, self.total, *more)


def refuse_missing(experiment: str, tally: Tally, most_failures: int | None) -> None:
    """Refuse to end an execution in which some runs have no outcome.

    Args:
        experiment: Name of the experiment.
        tally: The runs that were to be executed.
        most_failures: Number of failures at which the execution stopped; None means never.

    Raises:
        RunsMissing: Some runs have neither completed nor failed.
    """
    missing, failed = tally.states["pending"], tally.states["failed"]
    if missing and (most_failures is None or failed < most_failures):
        raise RunsMissing(experiment, missing, tally.total, str(tally.example))


def interruption_message(experiment: str, done: int, total: int, options: ExecutionOptions) -> str:
    """Return one line on an interrupted execution: what is kept, and how to continue.

    Args:
        experiment: Name of the experiment.
        done: Number of runs that have completed.
        total: Number of all runs.
        options: Options of the execution.
    """
    text = f"experiment {experiment!r}: interrupted; {done:,} of {total:,} runs completed"
    if options.checkpoint:
        return f"{text} and are stored: execute the same again to go on"
    return f"{text}, in memory only: persist() stores them, checkpoint=True does so by itself"


def grouped_failures(failures: Sequence[tuple[str, str]]) -> list[FailureGroup]:
    """Return failures grouped by type and line of code, the largest group first.

    Args:
        failures: Description and error of each failed run.
    """
    groups = _Groups()
    for run, error in failures:
        groups.add(error, partial(str, run))
    return groups.sorted()


@dataclass(slots=True)
class _Group:
    error_type: str | None
    message: str
    text: str
    examples: list[str] = field(default_factory=list)
    count: int = 0

    @classmethod
    def of(cls, error: str) -> _Group:
        """Return a group of which an error is the first."""
        line = shortened(headline(error), MESSAGE_CHARACTERS)
        return cls(_type(error), line, _shown(error))

    @classmethod
    def of_others(cls) -> _Group:
        """Return a group of errors that differ."""
        return cls(None, _OTHERS.error, _OTHERS.error)

    def emptied(self) -> _Group:
        """Return a group of the same error, without failures."""
        return _Group(self.error_type, self.message, self.text)

    def join(self, other: _Group) -> None:
        """Take the failures of another group."""
        self.count += other.count
        self.examples += other.examples[: EXAMPLES - len(self.examples)]

    def told(self, place: str) -> FailureGroup:
        """Return what users see of it."""
        examples = tuple(self.examples)
        return FailureGroup(self.count, self.error_type, self.message, place, examples, self.text)


class _Groups:
    """Failures by step and distinct error, of each of which one is kept."""

    def __init__(self) -> None:
        self._known: dict[tuple[str | None, _Kind], _Group] = {}
        self._locations: dict[bytes, str] = {}

    def add(self, error: str, describe: Callable[[], str], step: str | None = None) -> None:
        """Add a failure.

        Args:
            error: Its traceback; of a run whose worker has died, what has ended that.
            describe: Returns a description of the run.
            step: The step that is to be tried again.
        """
        line = shortened(headline(error), MESSAGE_CHARACTERS)
        kind = _Kind(_type(error) or line, self._located(error))
        group = self._group(step, kind, partial(_Group.of, error))
        group.count += 1
        if len(group.examples) < EXAMPLES:
            group.examples.append(describe())

    def _located(self, error: str) -> str:
        """Return the line of code that raised an error; equal frames are parsed once."""
        body = error.rstrip().rpartition("\n")[0]  # messages differ where frames do not
        if not body:
            return ""
        digest = xxh3_128_digest(body.encode(errors="surrogatepass"))
        if digest not in self._locations:
            if len(self._locations) == MOST_LOCATIONS:
                self._locations.clear()
            self._locations[digest] = _location(error)
        return self._locations[digest]

    def _group(self, step: str | None, kind: _Kind, make: Callable[[], _Group]) -> _Group:
        """Return the group of a kind, or that of all others if there are very many."""
        if (step, kind) not in self._known and len(self._known) >= MOST_GROUPS:
            kind, make = _OTHERS, _Group.of_others
        if (step, kind) not in self._known:
            self._known[step, kind] = make()
        return self._known[step, kind]

    def keep(self, earlier: _Groups, executed: Collection[str]) -> int:
        """Keep earlier failures in other steps than those executed; return how many there are."""
        kept = {key: own for key, own in earlier._known.items() if key[0] not in executed}
        for (step, kind), own in kept.items():
            self._group(step, kind, own.emptied).join(own)
        return sum(own.count for own in kept.values())

    def sorted(self) -> list[FailureGroup]:
        """Return the groups, the largest first; steps are no matter."""
        known: dict[_Kind, _Group] = {}
        for (_, kind), own in self._known.items():
            known.setdefault(kind, own.emptied()).join(own)
        groups = [own.told(kind.location) for kind, own in known.items()]
        return sorted(groups, key=lambda group: -group.count)


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
        return shortened(error, MESSAGE_CHARACTERS)
    frames = [frame.text for frame in users_frames(error)]
    return "\n".join([start + HEAD, *frames, shortened(message(error), MESSAGE_CHARACTERS)])
