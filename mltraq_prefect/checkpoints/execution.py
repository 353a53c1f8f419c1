"""One execution of steps on the runs of an experiment, with or without checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mltraq_prefect.checkpoints.resume import (
    CheckpointedResults,
    ResumePlan,
    parts_of,
    parts_of_params,
)
from mltraq_prefect.checkpoints.selection import Selection, select
from mltraq_prefect.checkpoints.stored_state import Content, StoredState
from mltraq_prefect.codecs import buffers
from mltraq_prefect.execution import (
    ExecutionOptions,
    RunFingerprints,
    as_steps,
    execute_serially,
    interruption_message,
    prepare_workers,
    refuse_edited,
    refuse_while_preparing,
)
from mltraq_prefect.execution.kept_failures import KeptFailures
from mltraq_prefect.execution.results import Results, start
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.orchestration.current import inside_run
from mltraq_prefect.storage.values.checks import check_fields

Steps = Callable[[Run], object] | Iterable[Callable[[Run], object]]


class Execution:
    """One execution of steps on the runs of an experiment.

    Args:
        experiment: The experiment.
        state: Its stored state.
        steps: The steps.
        options: Options of the execution.

    Raises:
        InvalidInput: A step, or an option of Prefect's, cannot be used; nothing was changed.
    """

    def __init__(
        self,
        experiment: Content,
        state: StoredState,
        steps: Steps | None,
        options: ExecutionOptions,
    ) -> None:
        self._experiment = experiment
        self._state = state
        self._options = options
        if not options.is_serial:
            refuse_while_preparing(experiment.name)
        _check_runner(options)
        self._steps = as_steps(steps, options.kwargs, options.seed, check_fields, buffers)
        self._names = [step.name for step in self._steps]
        if options.has_workers:
            refuse_edited(self._steps)
        state.fingerprints |= parts_of(self._steps, state.fingerprints)

    def execute(self, failures: KeptFailures) -> None:
        """Execute the steps.

        Args:
            failures: Raises for failed runs at the end, or keeps them.

        Raises:
            KeyboardInterrupt: With a message that says what was kept.
        """
        runs = self._experiment.runs.values()
        shared = Namespace(self._options.kwargs)
        for run in runs:
            run.kwargs, run.seed = shared, self._options.seed
        try:
            self._execute(failures)
        except KeyboardInterrupt:
            message = interruption_message(self._experiment.name, runs, self._options)
            raise KeyboardInterrupt(message) from None

    def _execute(self, failures: KeptFailures) -> None:
        state = self._state
        prints = RunFingerprints({step.name: step.fingerprint for step in self._steps}, buffers)
        selection = self._begin(prints)
        for run in selection.runs:
            prints.follow(run.params)
        state.fingerprints |= parts_of_params(prints)
        self._steps = [step.with_reads(prints.reads) for step in self._steps]
        results = Results(self._experiment.runs, prints)
        if self._options.checkpoint:
            results = CheckpointedResults(self._experiment.runs, self._steps, prints, state)
        if self._options.is_serial:
            self._execute_here(selection.runs, results, failures)
        elif self._experiment.runs:
            self._execute_in_flow(selection, results, failures)

    def _begin(self, prints: RunFingerprints) -> Selection:
        """Return the runs to execute; runs that were added may be stored already."""
        if self._options.checkpoint:
            return self._begin_checkpoint(prints)
        state, is_rerun = self._state, self._options.rerun
        state.find_added()

        def is_complete(run: Run) -> bool:
            done, params = run.ledger.steps, run.params
            is_same = all(prints.is_same(name, params, done.get(name)) for name in self._names)
            return is_same and not is_rerun and state.has(run)

        selection = select(self._experiment.runs.values(), self._names, is_complete)
        selection.log(self._experiment.name)
        start(selection.runs, self._steps, prints)
        return selection

    def _begin_checkpoint(self, prints: RunFingerprints) -> Selection:
        """Return the runs to execute; afterwards the database lists all runs."""
        state, runs = self._state, self._experiment.runs
        checkpoint = self._options.checkpoint
        if checkpoint == "replace":
            state.refuse_replace('checkpoint="replace"')
        stored = None if checkpoint == "replace" else state.read()
        resumed = ResumePlan(stored, self._steps, prints, accept=checkpoint == "accept")
        resumed.check(self._experiment.name, runs.values())
        if stored is not None:
            state.adopt_stored(stored)
        selection = select(runs.values(), self._names, resumed.is_complete)
        selection._replace(completed=0).log(self._experiment.name)
        start(selection.runs, self._steps, prints)
        if checkpoint == "replace":
            state.replace()
        elif new := [run for run in selection.runs if run.id_run not in resumed.entries]:
            state.write_some(new)
        return selection

    def _execute_here(self, runs: list[Run], results: Results, failures: KeptFailures) -> None:
        with results:
            cause = execute_serially(self._steps, runs, results.collect, self._options)
        failures.settle(runs, self._options, cause)

    def _execute_in_flow(
        self, selection: Selection, results: Results, failures: KeptFailures
    ) -> None:
        options, name = self._options, self._experiment.name
        if options.task_runner is None and options.backend != "threads" and not inside_run():
            prepare_workers()  # in parallel to the import of Prefect and the start of the flow run
        from mltraq_prefect.orchestration.api import ProgressDisplay, execute_in_tasks, in_flow

        runs, table = selection.runs, self._state.store.table_of(name)
        total = len(runs) + selection.completed
        progress = ProgressDisplay(name, table, total, selection.completed)

        def body() -> None:
            with results:
                cause = execute_in_tasks(self._steps, runs, results, options, progress)
            failures.settle(runs, options, cause)

        in_flow(f"{name}: {', '.join(self._names)}", body)


def _check_runner(options: ExecutionOptions) -> None:
    """Check options that depend on the task runner, if there may be one."""
    if options.is_serial or (options.task_runner is None and not inside_run()):
        return
    from mltraq_prefect.orchestration.api import check_runner

    check_runner(options)
