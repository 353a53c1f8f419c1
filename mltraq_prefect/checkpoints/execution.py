"""One execution of steps on the runs of an experiment, with or without checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from mltraq_prefect.checkpoints.cluster_results import ClusterResults
from mltraq_prefect.checkpoints.content import Content
from mltraq_prefect.checkpoints.provenance import facts_of
from mltraq_prefect.checkpoints.resume import (
    CheckpointedResults,
    ResumePlan,
    parts_of,
    parts_of_params,
    refuse_other,
)
from mltraq_prefect.checkpoints.selection import (
    Selection,
    done_before,
    due_steps,
    refuse_outdated,
    select,
)
from mltraq_prefect.checkpoints.shared import SharedExecution, refuse_beside_shared
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.codecs import buffers
from mltraq_prefect.environment import database_wait
from mltraq_prefect.errors import RunsFailed
from mltraq_prefect.execution import (
    ExecutionOptions,
    RunFingerprints,
    Work,
    as_steps,
    execute_serially,
    interruption_message,
    prepare_workers,
    refuse_edited,
    refuse_while_preparing,
)
from mltraq_prefect.execution.fanout.executed import step_names
from mltraq_prefect.execution.fanout.log import execution_logger
from mltraq_prefect.execution.fanout.progress import ProgressDisplay
from mltraq_prefect.execution.fanout.threads import execute_in_threads
from mltraq_prefect.execution.file_desk import Desk, file_desk
from mltraq_prefect.execution.kept_failures import KeptFailures
from mltraq_prefect.execution.results import Results, start
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.orchestration.configured import reason_without_prefect
from mltraq_prefect.orchestration.current import inside_run
from mltraq_prefect.storage.tables.first_in import ExecutedBy, FirstIn
from mltraq_prefect.storage.values.checks import FieldCheck

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
        self._name = experiment.name
        self._state = state
        self._options = options
        self._kwargs = Namespace(options.kwargs)
        self._shared: SharedExecution | None = None
        self._wait = database_wait()
        self._reason_without_prefect: str | None = None
        if not options.is_serial:
            refuse_while_preparing(self._name)
            _check_runner(options)
            if options.has_workers and not inside_run():
                prepare_workers()  # in parallel to the import of Prefect, if it is needed
            self._reason_without_prefect = reason_without_prefect(options)
        self._steps = as_steps(steps, options.kwargs, options.seed, FieldCheck(), buffers)
        self._names = [step.name for step in self._steps]
        self._id_execution: str | None = None
        if options.has_workers:
            refuse_edited(self._steps)
        self._secrets = state.store.secrets()
        state.fingerprints |= parts_of(self._steps, state.fingerprints, self._secrets.code)

    def execute(self, failures: KeptFailures) -> RunsFailed | None:
        """Execute the steps.

        Args:
            failures: Raises for failed runs at the end, or keeps them.

        Returns:
            The error about failed runs, without traceback, for the facade to raise; or None.

        Raises:
            KeyboardInterrupt: With a message that says what was kept.
        """
        self._give(self._experiment.runs.values())
        try:
            self._execute(failures)
        except RunsFailed as error:
            return error.with_traceback(None)
        except KeyboardInterrupt:
            message = interruption_message(self._name, *self._completed(), self._options)
            raise KeyboardInterrupt(message) from None
        return None

    def _give(self, runs: Iterable[Run]) -> None:
        """Give runs what the execution has for all of them."""
        kwargs, options = self._kwargs, self._options
        for run in runs:
            run.kwargs, run.seed, run.origin = kwargs, options.seed, self._state

    def _completed(self) -> tuple[int, int]:
        """Return how many runs have completed, of how many."""
        runs = self._experiment.runs.values()
        return sum(run.ledger.state == "completed" for run in runs), len(runs)

    def _execute(self, failures: KeptFailures) -> None:
        prints = RunFingerprints({step.name: step.fingerprint for step in self._steps}, buffers)
        selection = self._begin(prints)
        work, shared, done = Work.of(selection.runs), self._shared, selection.completed
        if shared is not None:
            work = replace(work, divide=shared.divide)
        progress = ProgressDisplay(self._name, work.total + done, done, selection.stopped)
        with shared or nullcontext():
            for run in selection.runs:
                prints.follow(run.params)
            self._execute_work(work, prints, progress, failures)

    def _execute_work(
        self,
        work: Work,
        prints: RunFingerprints,
        progress: ProgressDisplay,
        failures: KeptFailures,
    ) -> None:
        state = self._state
        state.fingerprints |= parts_of_params(prints, self._secrets.code)
        self._steps = [step.with_reads(prints.reads) for step in self._steps]
        runs = self._experiment.runs
        have_logged = state.has_series or any(run.row_changes() for run in runs.values())
        have_files = state.has_files or any(run.file_changes() for run in runs.values())
        desk = file_desk(
            runs,
            state.store.file_limit,
            answers=have_files,
            keeps_logs=self._options.keep_logs,
        )
        with desk as files:
            if self._options.checkpoint:
                results = self._checkpointed(prints, files)
            else:
                results = Results(
                    runs,
                    self._names,
                    prints,
                    have_logged=have_logged,
                    files=files,
                    id_execution=self._id_execution,
                    name_flow_run=state.name_flow_run,
                )
            if state.run_count:
                self._execute_runs(work, results, progress, failures)

    def _checkpointed(self, prints: RunFingerprints, files: Desk) -> Results:
        """Return what writes results as they arrive."""
        runs, shared = self._experiment.runs, self._shared
        more = step_names(self._steps), prints, self._state, files, self._id_execution
        if shared is None:
            return ClusterResults(runs, *more)
        return CheckpointedResults(runs, *more, shared)

    def _begin(self, prints: RunFingerprints) -> Selection:
        """Return the runs to execute; runs that were added may be stored already."""
        if self._options.shared:
            return self._begin_shared(prints)
        if self._options.checkpoint:
            return self._begin_checkpoint(prints)
        state, is_rerun = self._state, self._options.rerun
        state.find_added()

        def is_complete(run: Run) -> bool:
            done, params = run.ledger.steps, run.params
            due = due_steps(run.ledger, self._names)
            is_same = all(prints.is_same(name, params, done.get(name)) for name in due)
            return is_same and not is_rerun and state.has(run)

        selection = select(self._experiment.runs.values(), self._names, is_complete)
        selection.log(self._name)
        if selection.runs:
            self._tell_if_taken()
            self._note()
        start(selection.runs, self._steps, prints)
        return selection

    def _tell_if_taken(self) -> None:
        """Say it before the work is done if a plain `persist` will find the name taken."""
        state = self._state
        if state.revision is None and state.store.exists(self._name):
            execution_logger().info(
                "experiment %r is in the database already, and this is a new one of that name: "
                'persist it with if_exists="merge" or "replace", or add it under another name; '
                "checkpoint=True goes on with what is stored",
                self._name,
            )

    def _note(self) -> None:
        """Note where the results of the execution come from."""
        options, state = self._options, self._state
        facts = facts_of(
            self._steps, options.kwargs, options.seed, state.store.provenance, self._secrets
        )
        if facts is not None:
            state.executions[facts.id_execution] = facts
            self._id_execution = facts.id_execution

    def _begin_shared(self, prints: RunFingerprints) -> Selection:
        """Return the runs that all processes together are to execute, once this one takes part."""
        while True:
            selection = self._begin_checkpoint(prints)
            shared = SharedExecution(self._state, self._steps, prints, self._options)
            if shared.join(selection.runs):
                self._shared = shared
                return selection

    def _begin_checkpoint(self, prints: RunFingerprints) -> Selection:
        """Return the runs to execute; afterwards the database lists all runs."""
        state, runs = self._state, self._experiment.runs
        checkpoint = self._options.checkpoint
        if checkpoint == "replace":
            state.refuse_replace('checkpoint="replace"')
        if not self._options.shared:
            refuse_beside_shared(state, self._names)
        stored = None if checkpoint == "replace" else state.read()
        resumed = ResumePlan(stored, self._steps, prints, accept=checkpoint == "accept")
        refuse_other(self._name, [(resumed, runs.values())])
        if stored is not None:
            refuse_outdated(self._name, runs.values(), state.seen, resumed.entries)
            state.adopt_stored(stored)
            state.adopt(resumed.entries)
        selection = select(runs.values(), self._names, resumed.is_complete)
        selection.warn_of_blocked(self._name)
        if selection.runs:
            self._note()
        before = done_before(self._names, selection.runs, resumed.entries)
        state.execute_by(ExecutedBy(first_in=FirstIn(self._names, before)))
        start(selection.runs, self._steps, prints)
        for run in selection.runs:  # or else they replaced those that come now
            if run.row_changes():
                run.own_rows.drop(self._names)
        if checkpoint == "replace":
            state.replace()
        elif new := [run for run in selection.runs if run.id_run not in resumed.entries]:
            state.list_runs(new)
        elif selection.runs:
            state.store.check_writable()  # before hours of work are done
            state.note_executions()
        return selection

    def _patience(self) -> AbstractContextManager[None]:
        """Wait long for a database that goes away, if results are written while runs execute.

        Not where others take over the runs of a process that is cut off.
        """
        is_alone = self._options.checkpoint and not self._options.shared
        return self._state.store.patient(self._wait) if is_alone else nullcontext()

    def _execute_runs(
        self, work: Work, results: Results, progress: ProgressDisplay, failures: KeptFailures
    ) -> None:
        """Execute the steps in this process, in workers, or as task runs."""
        steps, options, name, shared = self._steps, self._options, self._name, self._shared

        def settle(execute: Callable[[], BaseException | None]) -> None:
            with results:
                if shared is not None:
                    shared.shown_by(progress, results.flush)
                with self._patience():
                    cause = execute()
                    results.flush()
            if shared is not None:
                shared.adopt()
            self._settle(work, failures, cause)

        if options.is_serial:
            settle(lambda: execute_serially(steps, work, results, options))
            return
        if (reason := self._reason_without_prefect) is not None:
            settle(lambda: execute_in_threads(steps, work, results, options, progress, reason))
            return
        from mltraq_prefect.orchestration.api import execute_in_tasks, in_flow, is_on_this_machine

        table = self._state.store.table_of(name)
        in_flow(
            f"{name}: {', '.join(self._names)}",
            lambda: settle(
                lambda: execute_in_tasks(steps, work, results, options, progress, table)
            ),
            can_be_late=is_on_this_machine(options),
        )

    def _settle(self, work: Work, failures: KeptFailures, cause: BaseException | None) -> None:
        """Tell of what is missing and has failed, when all is written."""
        self._state.warn_of_missed(work.runs)
        failures.settle(work.runs, self._options, cause)


def _check_runner(options: ExecutionOptions) -> None:
    """Check options that depend on the task runner, if there may be one."""
    if options.task_runner is None and not inside_run():
        return
    from mltraq_prefect.orchestration.api import check_runner

    check_runner(options)
