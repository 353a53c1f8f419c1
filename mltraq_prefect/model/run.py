"""A run, and the collection of an experiment's runs."""

from __future__ import annotations

import datetime
import functools
import itertools
import uuid
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol
from zlib import crc32

import numpy as np

from mltraq_prefect.model.union import supersedes

if TYPE_CHECKING:
    import pandas as pd

State = Literal["pending", "completed", "failed"]


class Namespace(dict[str, Any]):
    """A dict whose items are attributes too: ``fields.error`` is ``fields["error"]``.

    An item goes before a method of dict: ``fields.copy`` is the item if there is one.
    """

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            if name in self and not name.startswith("__"):
                return self[name]
            return dict.__getattribute__(self, name)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(map(str, self)) or "none"
        raise AttributeError(f"there is no {name!r} here; known: {known}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            raise AttributeError(f"write [{name!r}] = ... for a name that begins with __")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Namespace, (dict(self),)


@dataclass(slots=True)
class StepEntry:
    """What the ledger says of one run in one step.

    Attributes:
        state: ``completed``, ``failed``, or ``pending`` if its result no longer counts.
        fingerprint: Of what was executed; None if that is not known.
        error: Traceback of its failure, or None.
        error_type: Type of what it raised, such as ``ValueError``, or None.
        attempts: How often it was tried in its last execution.
        started_at: When its first attempt began (UTC, aware), or None.
        duration_s: Seconds of compute of all attempts, or None.
        flow_run_id: Id of the Prefect flow run that executed it, or None.
        task_run_id: Id of the Prefect task run that executed it, or None.
    """

    state: State = "completed"
    fingerprint: str | None = None
    error: str | None = None
    error_type: str | None = None
    attempts: int = 0
    started_at: datetime.datetime | None = None
    duration_s: float | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None


@dataclass(slots=True)
class LedgerEntry:
    """What the ledger says of one run: a summary, and an entry of each step.

    Attributes:
        state: ``pending``, ``completed`` or ``failed``.
        steps: Completed steps, each with the fingerprint of what was executed.
        error: Traceback of the last failure, or None.
        attempts: How often its last step was tried.
        started_at: When its first step began (UTC, aware), or None.
        duration_s: Seconds of compute of all its steps, or None.
        flow_run_id: Id of the Prefect flow run that executed its last step, or None.
        task_run_id: Id of the Prefect task run that executed its last step, or None.
        position: Place in the experiment's order; None until it is stored.
        step: The step to be tried next: the one that has failed, or that an execution has listed;
            None if there is no such step.
        error_type: Type of what the failed step raised, such as ``ValueError``, or None.
        executed: Entries of steps that were executed or read since the run is in memory.
        stored: Reads the entries that the database has of other steps; None if there are none.
    """

    state: State = "pending"
    steps: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    attempts: int = 0
    started_at: datetime.datetime | None = None
    duration_s: float | None = None
    flow_run_id: str | None = None
    task_run_id: str | None = None
    position: int | None = None
    step: str | None = None
    error_type: str | None = None
    executed: dict[str, StepEntry] = field(default_factory=dict)
    stored: Callable[[], dict[str, StepEntry]] | None = field(default=None, repr=False)

    @property
    def executions(self) -> dict[str, StepEntry]:
        """Entries of all steps that were tried, by name; read from the database when needed."""
        if self.stored is not None:
            self.executed = self.stored() | self.executed
            self.stored = None
        return self.executed

    def begin(self, step: str, fingerprint: str) -> StepEntry:
        """Note that a step is tried, again if its last attempt failed; return its entry."""
        now = datetime.datetime.now(datetime.UTC)
        entry = self.executed.get(step) if self.state == "failed" else None
        if entry is None:
            self.executed[step] = entry = StepEntry("pending", fingerprint, started_at=now)
        self.started_at = self.started_at or now
        self.attempts = entry.attempts = self.attempts + 1 if self.state == "failed" else 1
        return entry

    def spend(self, step: str, seconds: float) -> None:
        """Add the compute of an attempt."""
        entry = self.executed[step]
        entry.duration_s = (entry.duration_s or 0.0) + seconds
        self.duration_s = (self.duration_s or 0.0) + seconds

    def complete(self, step: str, fingerprint: str) -> None:
        """Note that a step has done what it is for."""
        entry = self.executed[step]
        entry.state, entry.error, entry.error_type = "completed", None, None
        self.state, self.error, self.error_type, self.step = "completed", None, None, None
        self.steps[step] = fingerprint

    def fail(self, step: str, fingerprint: str) -> None:
        """Note in which step the run has failed, with the error that the summary has."""
        entry = self.executed.setdefault(step, StepEntry("failed", fingerprint))
        entry.state, entry.error, entry.error_type = "failed", self.error, self.error_type
        entry.attempts = self.attempts
        self.state, self.step = "failed", step
        self.steps.pop(step, None)

    def expect(self, steps: Sequence[str], changed: Container[str] = ()) -> None:
        """Note that steps are due, the first of them now, whatever became of them earlier.

        Args:
            steps: Their names.
            changed: Those that are others now: what completed after them was made of their results.
        """
        done = list(self.steps)
        first = next((place for place, step in enumerate(done) if step in changed), len(done))
        later = [step for step in done[first:] if step not in steps]
        if any(step in self.steps or step in self.executed or step == self.step for step in steps):
            self._forget(steps)
        self._outdate(later)
        self.state, self.step, self.attempts = "pending", steps[0], 0
        self.error = self.error_type = None

    def discard(self, steps: Sequence[str]) -> None:
        """Note that what some steps have done is lost, and that the first is to be tried next."""
        self._outdate(steps)
        self.step = steps[0]

    def _outdate(self, steps: Sequence[str]) -> None:
        for step in steps:
            if (entry := self.executed.get(step)) is not None and entry.state == "completed":
                entry.state = "pending"
            self.steps.pop(step, None)

    def _forget(self, steps: Sequence[str]) -> None:
        others = {step: entry for step, entry in self.executions.items() if step not in steps}
        began = [entry.started_at for entry in others.values() if entry.started_at is not None]
        spent = [entry.duration_s for entry in others.values() if entry.duration_s is not None]
        self.executed = others
        self.steps = {step: print_ for step, print_ in self.steps.items() if step not in steps}
        self.started_at, self.duration_s = min(began, default=None), sum(spent) if spent else None

    def copy(self) -> LedgerEntry:
        """Return an entry with the same values in dicts of its own."""
        executed = {step: replace(entry) for step, entry in self.executed.items()}
        return replace(self, steps=dict(self.steps), executed=executed)

    def __getstate__(self) -> tuple[Any, ...]:
        _ = self.executions
        return tuple(getattr(self, name) for name in LedgerEntry.__slots__[:-1])

    def __setstate__(self, state: Any) -> None:
        values = LedgerEntry()
        names = LedgerEntry.__slots__[:-1]
        known = dict(zip(names, state, strict=True)) if len(state) > 2 else state[1]
        for name in LedgerEntry.__slots__:
            setattr(self, name, known.get(name, getattr(values, name)))


class Source(Protocol):
    """What makes parts of runs that are not in memory.

    Attributes:
        parts: Names of the parts that it makes, such as ``fields``.
    """

    parts: frozenset[str]

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while a part of a run is made, so that it is made once."""

    def make(self, part: str, run: Run) -> Any:
        """Return a part of a run; the source keeps nothing large of it.

        Args:
            part: Its name.
            run: Whose it is; `run.place` is what it was stored or deferred with.
        """


_DEFAULTS: dict[str, Callable[[], Any]] = {
    "kwargs": Namespace,
    "locals": Namespace,
    "seed": int,
    "place": int,
    "_step": str,
    "_rng": lambda: None,
    "_source": lambda: None,
}
_PARTS = frozenset(("params", "kwargs", "fields", "ledger"))


class Run:
    """One point of the grid: what varies (params), what is tracked (fields), what is scratch.

    Args:
        id_run: UUID as text; random if None. Runs that an experiment adds get a deterministic one.
        params: What varies between runs.
        kwargs: What is fixed for an execution.
        fields: What is tracked: the only values that the tables keep.
        locals: Scratch values, kept in memory only.
        seed: Seed of `rng`.
    """

    __slots__ = (
        "_id_run",
        "_rng",
        "_source",
        "_step",
        "fields",
        "kwargs",
        "ledger",
        "locals",
        "params",
        "place",
        "seed",
    )

    def __init__(
        self,
        id_run: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        seed: int = 0,
        ledger: LedgerEntry | None = None,
    ) -> None:
        self._id_run = str(uuid.uuid4()) if id_run is None else id_run
        self.params = Namespace(params or {})
        self.kwargs = Namespace(kwargs or {})
        self.fields = Namespace(fields or {})
        self.locals = Namespace(locals or {})
        self.seed = seed
        self.ledger = LedgerEntry() if ledger is None else ledger
        self._source: Source | None = None
        self.place = 0
        self.begin("")

    @classmethod
    def stored(cls, id_run: str, source: Source, place: int) -> Run:
        """Return a run that a database holds, whose parts are made when they are asked for.

        Args:
            id_run: Its id.
            source: What it is made of.
            place: Its place there.
        """
        run = cls.__new__(cls)
        run._id_run = id_run
        run._source = source
        run.place = place
        return run

    @property
    def id_run(self) -> str:
        """What identifies the run in its experiment; it cannot be set."""
        return self._id_run

    def defer(self, source: Source) -> None:
        """Drop parts from memory; the source makes each when somebody asks for it.

        Args:
            source: Of the parts; those that another source has not made yet are made now.
        """
        for part in () if self._source is None else self._source.parts:
            getattr(self, part)
        self._source = source
        for part in source.parts:
            delattr(self, part)

    def awaits(self, part: str, source: Source) -> bool:
        """Return whether a part is not in memory, and this source is to make it."""
        return self.is_of(source) and not self._has(part)

    def is_of(self, source: Source) -> bool:
        """Return whether parts of the run were deferred to this source."""
        return self._source is source

    def _has(self, part: str) -> bool:
        try:
            getattr(Run, part).__get__(self)
        except AttributeError:
            return False
        return True

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make what is not in memory."""
            if name in _PARTS and (source := self._source) is not None and name in source.parts:
                return self._made(name, source)
            if name not in _DEFAULTS:
                raise AttributeError(self._hint(name))
            value = _DEFAULTS[name]()
            setattr(self, name, value)
            return value

    def _hint(self, name: str) -> str:
        is_own = name.startswith("_") or name in Run.__slots__
        parts = () if is_own else ("params", "kwargs", "fields", "locals")
        found = [f"run.{part}.{name}" for part in parts if name in getattr(self, part)]
        hint = f"; did you mean {' or '.join(found)}?" if found else ""
        return f"a run has no attribute {name!r}{hint}"

    def _made(self, name: str, source: Source) -> Any:
        slot = getattr(Run, name)
        with source.lock:
            try:
                return slot.__get__(self)  # another thread was first
            except AttributeError:
                value = source.make(name, self)
                slot.__set__(self, value)
                return value

    def begin(self, step: str) -> None:
        """Start the random stream of a step."""
        self._step: str = step
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers that depend on seed, run and step, and on nothing else."""
        if self._rng is None:
            self._rng = np.random.default_rng(self.entropy())
        return self._rng

    def entropy(self) -> list[int]:
        """Seed words of the current step: seed, id of the run, checksum of the step's name."""
        return [self.seed, uuid.UUID(self.id_run).int, crc32(self._step.encode())]

    def describe(self) -> str:
        """The run for a person: its params, or its id if it has none."""
        return describe(self.params) or self.id_run

    def copy(self) -> Run:
        """Return a run with the same values in dicts of its own."""
        return Run(
            self.id_run,
            params=self.params,
            kwargs=self.kwargs,
            fields=self.fields,
            locals=self.locals,
            seed=self.seed,
            ledger=self.ledger.copy(),
        )

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.fields[key] = value

    def __repr__(self) -> str:
        return f"Run({self.describe()}, fields={list(self.fields)}, state={self.ledger.state!r})"

    def df(self) -> pd.DataFrame:
        """The fields of this run as a frame of one row."""
        return Runs([self]).df()

    def __getstate__(self) -> tuple[Any, ...]:
        return (
            self.id_run,
            self.params,
            self.kwargs,
            self.fields,
            self.locals,
            self.seed,
            self.ledger,
        )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (
            self._id_run,
            self.params,
            self.kwargs,
            self.fields,
            self.locals,
            self.seed,
            self.ledger,
        ) = state


class Runs(dict[str, Run]):
    """The runs of an experiment in the order in which they were defined, by `id_run`."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        super().__init__((run.id_run, run) for run in runs)

    def add(self, *runs: Run | Mapping[str, Run]) -> None:
        """Add runs, or all runs of other collections.

        A run with a known id is the same run: it is taken if it was executed and the known one was
        not; of two that have equal fields one stays.

        Raises:
            InvalidInput: Both have results, and different ones; nothing was added.
        """
        new: dict[str, Run] = {}
        for item in runs:
            for run in item.values() if isinstance(item, Mapping) else (item,):
                known = new.get(run.id_run) or self.get(run.id_run)
                if known is None or (known is not run and supersedes(run, known)):
                    new[run.id_run] = run
        self.update(new)

    def __or__(self, other: Any) -> Any:
        """Return the union of two collections of runs; see `add`."""
        if not isinstance(other, Mapping):
            return NotImplemented
        union = Runs(self.values())
        union.add(other)
        return union

    def __ror__(self, other: Any) -> Any:
        return Runs(other.values()) | self if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Runs:  # type: ignore[override]
        self.add(other)
        return self

    def __missing__(self, key: object) -> Run:
        raise KeyError(
            f"there is no run {key!r}: runs are found by id_run; "
            "the first is runs.first(), all in order are list(runs.values())"
        )

    def next(self) -> Run:
        """Make a run with a random id and without params, add it, and return it."""
        run = Run()
        self[run.id_run] = run
        return run

    def first(self) -> Run:
        """Return the first run; raises LookupError if there is none."""
        for run in self.values():
            return run
        raise LookupError("there are no runs; define some with add_run() or add_runs()")

    def df(self) -> pd.DataFrame:
        """Return a frame with `id_run` and the fields, one row a run, values as they are."""
        import pandas as pd

        keys = list(
            dict.fromkeys(itertools.chain.from_iterable(run.fields for run in self.values()))
        )
        columns = {"id_run": list(self)} | {
            key: _column([dict.get(run.fields, key) for run in self.values()]) for key in keys
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Runs({len(self)})"


def _column(values: list[Any]) -> Any:
    import pandas as pd

    plain = all(isinstance(value, (int, float, str, bool)) for value in values)
    return values if plain else pd.Series(values, dtype=object)


def describe(params: Mapping[str, Any]) -> str:
    """Return params for a person: ``N=25, model=LogisticRegression``."""
    return ", ".join(f"{name}={_short(value)}" for name, value in dict(params).items())


def _short(value: Any, limit: int = 40) -> str:
    if isinstance(value, functools.partial):
        parts = [*map(_short, value.args), describe(value.keywords)]
        text = f"{_short(value.func)}({', '.join(filter(None, parts))})"
    elif isinstance(value, float):
        text = format(value, "g") if float(format(value, "g")) == value else repr(float(value))
    elif isinstance(value, (str, datetime.date, datetime.time, np.generic)):
        text = str(value)
    else:
        text = getattr(value, "__name__", None) or repr(value)
    text = " ".join(str(text).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
