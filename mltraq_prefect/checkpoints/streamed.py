"""Execution of a grid that does not fit into memory, portion by portion.

The ledger lists all runs before the first one is executed, as that of any checkpoint does. Then the
runs of a portion are made again, executed, written, and let go. So memory holds what is being
executed; what is known of all the others is in the database.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from mltraq_prefect.checkpoints.execution import Execution, Steps
from mltraq_prefect.checkpoints.resume import ResumePlan, parts_of_params, refuse_other
from mltraq_prefect.checkpoints.selection import (
    Selection,
    done_before,
    select,
    warn_of_blocked,
)
from mltraq_prefect.checkpoints.shared import refuse_beside_shared
from mltraq_prefect.checkpoints.streamed_state import StreamedState
from mltraq_prefect.codecs import buffers
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import BatchSizer, ExecutionOptions, RunFingerprints, Work
from mltraq_prefect.execution.failures import Tally
from mltraq_prefect.execution.fanout.progress import ProgressDisplay
from mltraq_prefect.execution.kept_failures import KeptFailures
from mltraq_prefect.execution.results import start
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Record
from mltraq_prefect.storage.tables.first_in import ExecutedBy, FirstIn
from mltraq_prefect.texts import counted

PORTION = 50_000
"""Runs that are made, listed and read at once: they take some 80 MB."""

MOST_IN_BATCH = 5_000
"""Runs of a batch, whose number follows from how many there are in smaller grids."""

_logger = logging.getLogger("mltraq_prefect")


class _Portion(NamedTuple):
    """Points of a grid that follow each other.

    Attributes:
        start: The first of them.
        due: How many of their runs are to be executed.
        new: How many of these the database does not list.
        is_new: Whether it lists none of them.
    """

    start: int
    due: int
    new: int
    is_new: bool


@dataclass(slots=True)
class _Survey:
    """What the database has of the runs of a grid.

    Attributes:
        portions: The portions, in order.
        completed: How many runs have completed the steps, or were stopped in one.
        stopped: How many of these were stopped.
        blocked: How many are left out, as an earlier step has not completed.
        example: One of those.
    """

    portions: list[_Portion] = field(default_factory=list)
    completed: int = 0
    stopped: int = 0
    blocked: int = 0
    example: Run | None = None

    @property
    def due(self) -> int:
        """How many runs are to be executed."""
        return sum(one.due for one in self.portions)

    @property
    def new(self) -> int:
        """How many of these the database does not list."""
        return sum(one.new for one in self.portions)

    def note(self, first: int, selection: Selection, plan: ResumePlan) -> None:
        """Note what the database has of a portion."""
        new = sum(run.id_run not in plan.entries for run in selection.runs)
        self.portions.append(_Portion(first, len(selection.runs), new, not plan.entries))
        self.completed += selection.completed
        self.stopped += selection.stopped
        self.blocked += len(selection.blocked)
        self.example = next(iter(selection.blocked), self.example)


class StreamedExecution(Execution):
    """An execution of steps on the runs of a grid that is streamed.

    Args:
        state: The stored state of the experiment.
        steps: The steps.
        options: Options of the execution.

    Raises:
        InvalidInput: A step or an option cannot be used; nothing was changed.
    """

    def __init__(
        self, state: StreamedState, steps: Steps | None, options: ExecutionOptions
    ) -> None:
        _refuse(state, options)
        super().__init__(state.window, state, steps, options)
        self._streamed = state
        self._grid, self._window = state.window.grid, state.window.runs
        self._survey = _Survey()
        self._tally = Tally(steps=self._names)
        self._total = 0
        self._before: dict[str, dict[str, str]] = {}

    def _execute(self, failures: KeptFailures) -> None:
        self._streamed.forget([*self._window.values()])  # of an execution that was interrupted
        prints = RunFingerprints({step.name: step.fingerprint for step in self._steps}, buffers)
        for name, value in self._grid.values():
            prints.reach(name, value)
        refuse_beside_shared(self._state, self._names)
        survey = self._survey = self._surveyed(prints)
        if survey.due:
            self._note()
        self._state.execute_by(ExecutedBy(first_in=FirstIn(self._names, self._before)))
        self._list(prints)
        self._total = survey.due
        total = survey.due + survey.completed
        progress = ProgressDisplay(self._name, total, survey.completed, survey.stopped)
        work = Work(survey.due, (), partial(self._divide, prints))
        self._execute_work(work, prints, progress, failures)

    # -- what there is ---------------------------------------------------------------------------

    def _surveyed(self, prints: RunFingerprints) -> _Survey:
        """Look what the database has of the runs.

        Raises:
            InvalidInput: It has results that were computed differently.
        """
        survey = _Survey()
        if self._options.checkpoint != "replace" and self._state.store.exists(self._name):
            refuse_other(self._name, self._compared(survey, prints))
        else:
            for first in self._firsts():
                count = min(PORTION, len(self._grid) - first)
                survey.portions.append(_Portion(first, count, count, is_new=True))
        if survey.example is not None:
            warn_of_blocked(self._name, survey.blocked, survey.example)
        return survey

    def _firsts(self) -> range:
        return range(0, len(self._grid), PORTION)

    def _compared(
        self, survey: _Survey, prints: RunFingerprints
    ) -> Iterator[tuple[ResumePlan, Sequence[Run]]]:
        """Yield the runs of each portion with what the database has of them, and note that."""
        for first in self._firsts():
            runs = self._made(first)
            plan, _ = self._stored(runs, prints)
            yield plan, runs
            for run in runs:
                run.ledger = plan.entries.get(run.id_run, run.ledger)
            survey.note(first, select(runs, self._names, plan.is_complete), plan)

    def _made(self, first: int) -> list[Run]:
        runs = self._grid.runs(first, first + PORTION)
        self._give(runs)
        return runs

    def _stored(
        self, runs: Sequence[Run], prints: RunFingerprints
    ) -> tuple[ResumePlan, Record | None]:
        """Read what the database has of runs."""
        stored = self._state.read_some(run.id_run for run in runs)
        if stored is not None:
            self._state.adopt_stored(stored)
        accept = self._options.checkpoint == "accept"
        return ResumePlan(stored, self._steps, prints, accept=accept), stored

    def _list(self, prints: RunFingerprints) -> None:
        """Let the database list all runs, portion by portion."""
        state, survey = self._streamed, self._survey
        if self._options.checkpoint == "replace":
            state.replace()
        if not survey.new:
            if survey.due:
                state.store.check_writable()  # before hours of work are done
                state.note_executions()
            return
        listed = counted(survey.new, "new run is", "new runs are")
        _logger.info("experiment %r: %s listed", self._name, listed)
        for portion in survey.portions:
            if portion.new:
                runs = self._made(portion.start)
                if not portion.is_new:
                    known = self._stored(runs, prints)[0].entries
                    runs = [run for run in runs if run.id_run not in known]
                start(runs, self._steps, prints)
                state.list_runs(runs)
                state.forget(runs)

    # -- what is executed ------------------------------------------------------------------------

    def _divide(
        self, prints: RunFingerprints, sizer: BatchSizer
    ) -> Iterator[tuple[str, list[Run]]]:
        """Yield label and runs of each batch."""
        left, of_task = self._survey.due, self._options.runs_per_task
        most = MOST_IN_BATCH if isinstance(of_task, str) else of_task
        for portion in self._survey.portions:
            due = self._due(portion, prints) if portion.due else []
            begin = 0
            while begin < len(due):
                some = due[begin : begin + min(sizer.size(left), most)]
                begin, left = begin + len(some), left - len(some)
                yield self._label(some[0][0], some[-1][0]), [run for _, run in some]

    def _label(self, first: int, last: int) -> str:
        """Return which runs of the grid a batch has, for the name of its task run."""
        places = f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"
        return f"{places} of {len(self._grid)}"

    def _due(self, portion: _Portion, prints: RunFingerprints) -> list[tuple[int, Run]]:
        """Take the runs of a portion that are to be executed into memory, with their places."""
        self._let_go()
        state, runs = self._streamed, self._made(portion.start)
        self._window.update((run.id_run, run) for run in runs)
        plan, stored = self._stored(runs, prints)
        refuse_other(self._name, [(plan, runs)])  # others may have executed some meanwhile
        if portion.is_new and _is_bare(plan) and stored is not None and stored.snapshot is not None:
            state.adopt_new(plan.entries, stored.snapshot)
        else:
            state.adopt(plan.entries)
        selected = {run.id_run for run in select(runs, self._names, plan.is_complete).runs}
        state.forget(run for run in runs if run.id_run not in selected)
        placed = enumerate(runs, portion.start)
        due = [(place, run) for place, run in placed if run.id_run in selected]
        self._total += len(due) - portion.due
        own = [run for _, run in due]
        self._before |= done_before(self._names, own, plan.entries)
        start(own, self._steps, prints)
        for _, run in due:
            prints.follow(run.params)
        state.fingerprints |= parts_of_params(prints, self._secrets.code)
        return due

    def _let_go(self) -> None:
        """Count runs that have ended and are written, and let go of them."""
        runs, state = self._window.values(), self._streamed
        ended = [run for run in runs if run.ledger.state != "pending" and state.has_alone(run)]
        self._tally.note(ended)
        state.forget(ended)
        for run in ended:
            self._before.pop(run.id_run, None)

    # -- the end ---------------------------------------------------------------------------------

    def _settle(self, _work: Work, failures: KeptFailures, cause: BaseException | None) -> None:
        self._let_go()
        tally, left = self._tally, [*self._window.values()]
        tally.note(left)
        self._streamed.forget(left)
        tally.states["pending"] += self._total - tally.total
        failures.settle((), self._options, cause, tally)

    def _completed(self) -> tuple[int, int]:
        self._let_go()
        return self._survey.completed + self._tally.states["completed"], len(self._grid)


def _is_bare(plan: ResumePlan) -> bool:
    """Return whether nobody has executed any of the runs since they were listed."""
    return all(entry.state == "pending" and not entry.steps for entry in plan.entries.values())


def _refuse(state: StreamedState, options: ExecutionOptions) -> None:
    """Refuse options that need all runs in memory.

    Raises:
        InvalidInput: There is one.
    """
    subject = f"experiment {state.window.name!r}: its {state.run_count:,} runs are streamed"
    if not options.checkpoint:
        raise InvalidInput(
            f"{subject}, so that nothing but the database can keep their results: give "
            "checkpoint=True"
        )
    if options.rules:
        raise InvalidInput(
            f"{subject}, and stop=... compares the runs of one execution: leave it out, or "
            "make parts of the grid experiments of their own, each with a name"
        )
    if options.shared:
        raise InvalidInput(
            f"{subject}, which shared=True does not do: leave it out, or make parts of the grid "
            "experiments of their own, each with a name"
        )
