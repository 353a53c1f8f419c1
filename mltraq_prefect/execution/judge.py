"""Decisions on which runs are stopped early, and how they come to the steps.

The judge is in the process of the execution and hears of all rows. With ``synchronous`` a step
waits for the decision on each row, which depends on no more than the rows of runs that come before
its own. Otherwise decisions come when they come.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from mltraq_prefect.execution.options import ExecutionOptions
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import LoggedRows
from mltraq_prefect.stop import Curve, Rule, unknown_keys


class Attempted(NamedTuple):
    """An attempt at a step in a run.

    Attributes:
        id_run: The run.
        step: Name of the step.
        number: Number of the attempt.
    """

    id_run: str
    step: str
    number: int


class Verdict(NamedTuple):
    """A decision on an attempt.

    Attributes:
        attempt: The attempt.
        rows: Number of rows that it had logged.
        stops: Whether it is stopped.
    """

    attempt: Attempted
    rows: int
    stops: bool


Reply = Callable[[Verdict], None]
"""Sends a decision to where the step is executed."""


class Verdicts(Protocol):
    """Decisions as steps see them."""

    @property
    def are_awaited(self) -> bool:
        """Whether a step waits for the decision on each row."""

    def stops(self, attempt: Attempted, rows: int) -> bool:
        """Return whether an attempt is stopped.

        Args:
            attempt: The attempt.
            rows: Number of rows that it has logged.
        """


class SharedVerdicts:
    """Decisions on steps that are executed in threads of this process.

    Args:
        are_awaited: Whether a step waits for the decision on each row.
    """

    def __init__(self, *, are_awaited: bool) -> None:
        self.are_awaited = are_awaited
        self._known: dict[tuple[str, str], Verdict] = {}
        self._changed = threading.Condition()
        self._is_closed = False

    def __reduce__(self) -> tuple[Callable[[], SharedVerdicts], tuple[()]]:
        # Another process has its own: there decisions come in answer to its own rows.
        return partial(SharedVerdicts, are_awaited=self.are_awaited), ()

    def note(self, verdict: Verdict) -> None:
        """Take a decision."""
        with self._changed:
            self._known[verdict.attempt[:2]] = verdict
            self._changed.notify_all()

    def stops(self, attempt: Attempted, rows: int) -> bool:
        """Return whether an attempt is stopped; wait for that if decisions are awaited."""
        with self._changed:
            while self.are_awaited and not self._is_closed:
                known = self._known.get(attempt[:2])
                if known is not None and known.attempt == attempt and known.rows >= rows:
                    break
                self._changed.wait()
            known = self._known.get(attempt[:2])
            return known is not None and known.attempt == attempt and known.stops

    def close(self) -> None:
        """Let nobody wait any longer: the execution ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class Judge:
    """Decides which runs are stopped; used by the thread of the execution.

    Args:
        rules: Any of them may stop a run.
        runs: The runs of the execution, in order.
        steps: Names of its steps.
        is_awaited: Whether steps wait for the decision on each row.
    """

    def __init__(
        self, rules: Sequence[Rule], runs: Sequence[Run], steps: Iterable[str], *, is_awaited: bool
    ) -> None:
        self._rules = rules
        self._runs = {run.id_run: run for run in runs}
        self._is_awaited = is_awaited
        self._curves: dict[str, dict[str, Curve]] = {step: {} for step in steps}
        self._open = {step: dict.fromkeys(self._runs) for step in self._curves}
        self._waiting: list[tuple[Verdict, Reply]] = []

    def take(self, rows: Iterable[LoggedRows], reply: Reply | None) -> None:
        """Take rows, and decide on their attempts.

        Args:
            rows: The rows.
            reply: Sends the decisions; None if nobody waits for them.
        """
        heard: dict[Attempted, Curve] = {}
        for id_run, step, own, _, number, _ in rows:
            curves = self._curves[step]
            if id_run not in curves:
                curves[id_run] = Curve(id_run, self._runs[id_run].params)
            curves[id_run].take(own)
            heard[Attempted(id_run, step, number)] = curves[id_run]
        if reply is None:
            return
        for attempt, curve in heard.items():
            if self._is_awaited:
                self._waiting.append((Verdict(attempt, curve.rows, False), reply))
            elif self._stops(curve, self._others(attempt)):
                reply(Verdict(attempt, curve.rows, True))
        self._answer()

    def end(self, ids: Iterable[str], steps: Iterable[str] | None = None) -> None:
        """Note that runs have ended steps, or all.

        Args:
            ids: The runs.
            steps: Names of the steps; all if None.
        """
        ended = list(ids)
        for step in self._open if steps is None else steps:
            for id_run in ended:
                self._open[step].pop(id_run, None)
        self._answer()

    def warn_of_unknown_keys(self, warn: Callable[[str], None]) -> None:
        """Tell, when all is over, of rules that could stop no run, as no run has their key.

        Args:
            warn: Shows a line where the execution logs.
        """
        curves = [curve for of_step in self._curves.values() for curve in of_step.values()]
        for key, known in unknown_keys(self._rules, curves).items():
            listed = ", ".join(map(repr, known))
            warn(f"stop: no run has logged numbers as {key!r}; known: {listed}")

    def _answer(self) -> None:
        """Decide on the attempts that all runs before have come as far as."""
        for item in list(self._waiting):
            verdict, reply = item
            attempt, rows, _ = verdict
            if self._has_all(attempt, rows):
                self._waiting.remove(item)
                curve = self._curves[attempt.step][attempt.id_run].upto(rows)
                others = [other.upto(rows) for other in self._before(attempt)]
                reply(verdict._replace(stops=self._stops(curve, others)))

    def _has_all(self, attempt: Attempted, rows: int) -> bool:
        curves = self._curves[attempt.step]
        for id_run in self._open[attempt.step]:
            if id_run == attempt.id_run:
                return True
            if id_run not in curves or curves[id_run].rows < rows:
                return False
        return True

    def _others(self, attempt: Attempted) -> list[Curve]:
        curves = self._curves[attempt.step]
        return [curve for id_run, curve in curves.items() if id_run != attempt.id_run]

    def _before(self, attempt: Attempted) -> list[Curve]:
        """Return the curves of the runs that come before, in their order."""
        curves, before = self._curves[attempt.step], []
        for id_run in self._runs:
            if id_run == attempt.id_run:
                break
            if id_run in curves:
                before.append(curves[id_run])
        return before

    def _stops(self, curve: Curve, others: Sequence[Curve]) -> bool:
        return any(rule(curve, others) for rule in self._rules)


def judge_of(options: ExecutionOptions, runs: Sequence[Run], steps: Sequence[Step]) -> Judge | None:
    """Return the judge of an execution; None if no rule stops runs."""
    if not options.stop:
        return None
    names = [step.name for step in steps]
    return Judge(options.rules, runs, names, is_awaited=options.synchronous)
