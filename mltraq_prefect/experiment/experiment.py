"""An experiment: a named set of runs with fields of its own."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from mltraq_prefect.checkpoints.execution import Execution, Steps
from mltraq_prefect.checkpoints.persist import persist
from mltraq_prefect.checkpoints.persist_options import check_persist
from mltraq_prefect.checkpoints.provenance import note_by_hand
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.checkpoints.streamed import StreamedExecution
from mltraq_prefect.checkpoints.streamed_state import StreamedState, Window
from mltraq_prefect.codecs import buffers
from mltraq_prefect.errors import InvalidGrid, RunsFailed
from mltraq_prefect.execution import ExecutionOptions
from mltraq_prefect.execution.kept_failures import KeptFailures
from mltraq_prefect.execution.row_buffer import logged_here
from mltraq_prefect.experiment.origins import Origins
from mltraq_prefect.experiment.parts import Tags
from mltraq_prefect.experiment.stored import Stored
from mltraq_prefect.model.definition import Definition
from mltraq_prefect.model.grid import Grid
from mltraq_prefect.model.hints import no_attribute
from mltraq_prefect.model.html import note
from mltraq_prefect.model.loaded_runs import runs_of
from mltraq_prefect.model.logged_rows import take_over
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.streamed_grid import StreamedGrid
from mltraq_prefect.model.streamed_runs import StreamedRuns
from mltraq_prefect.orchestration.current import inside_task
from mltraq_prefect.stop import StopRun
from mltraq_prefect.storage import Annotations, Record, Store
from mltraq_prefect.storage.records import new_record

if TYPE_CHECKING:
    import pandas as pd
    from prefect.task_runners import TaskRunner

    from mltraq_prefect.execution.options import Backend, Checkpoint, OnError
    from mltraq_prefect.stop import Rule

IfExists = Literal["fail", "replace", "merge"]

_INSTEAD = {
    **dict.fromkeys(("reload", "refresh", "load"), "session.load(name)"),
    **dict.fromkeys(("save", "store", "write", "to_sql"), "persist()"),
    **dict.fromkeys(("run_all", "run_steps", "start", "fit", "submit"), "execute(steps)"),
    **dict.fromkeys(("frame", "to_df", "to_pandas", "results"), "runs.df() or session.frame(name)"),
    **dict.fromkeys(("params", "locals", "ledger"), "runs: each run has its own"),
}
"""Names of other libraries for our methods, and what to write instead."""


class Experiment(Stored, Origins):
    """A named set of runs; made by `Session.add_experiment` and `Session.load`.

    An experiment is not safe for several threads, but several experiments of one session are.

    Attributes:
        name (str): Identifies the experiment in its database; read-only.
        id_experiment (str): UUID; read-only. An experiment that is merged into a stored one adopts
            the id of that one.
        fields (Namespace): Values that are tracked of the experiment as a whole.
        runs (Runs): The runs by `id_run`, in the order in which they were added.
        tags (dict[str, str]): What people say of the experiment, such as ``{"team": "vision"}``;
            stored by `persist`, shown by `Session.ls`, and filterable there.
        note (str): A text that tells people of the experiment; stored and shown likewise.

    Examples:
        >>> def square(run):
        ...     run.fields.square = run.params.x ** run.kwargs.power
        >>> experiment = create_session("sqlite://").add_experiment("squares", author="Ada")
        >>> experiment.add_runs(x=[1, 2, 3])
        Experiment('squares', runs=3, store='sqlite://')
        >>> _ = experiment.execute(square, {"power": 2}, backend="local").persist()
        >>> experiment.query("SELECT square FROM {experiment}")["square"].tolist()
        [1, 4, 9]
        >>> with experiment.run(x=4) as run:
        ...     run.fields.square = 16
        >>> run.ledger.state
        'completed'
    """

    def __init__(self, store: Store, record: Record) -> None:
        self._fields = Namespace(record.fields)
        self._tags = Tags(record.name, record.annotations.tags)
        self._note = record.annotations.note
        self._runs = runs_of(record.runs)
        self._state: StoredState = StoredState(store, record, weakref.ref(self))
        self.runs.set_origin(self._state)
        self._ids_name = record.ids_name
        self._failures = KeptFailures(record.name)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise an error that suggests an existing attribute."""
            raise no_attribute(self, name, _INSTEAD, dir(type(self)))

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, runs={len(self.runs)}, store={self._state.store.url!r})"

    def _repr_html_(self) -> str:
        url, revision = self._state.store.url, self._state.revision
        stored = "not persisted yet" if revision is None else f"revision {revision}"
        return self.runs.shown(f"Experiment {self.name}", note(f"{url}, {stored}"), self.fields)

    # -- definition ------------------------------------------------------------------------------

    def add_run(self, /, **params: Any) -> Run:
        """Add a run with these params and return it.

        Another run with the same params is a replicate: a run of its own, with its own id.

        Args:
            **params: Values that distinguish the run from others, by name. Equal params give equal
                ids in every process. Params that nothing identifies but their position (a lock, an
                open file) are accepted here, and refused by checkpoints and merges.

        Returns:
            The new run.
        """
        return self._definition.add(params)

    def add_runs(self, rows: pd.DataFrame | None = None, /, **grid: Iterable[Any]) -> Experiment:
        """Add a run for each point of the Cartesian product of the params' values.

        If the database already has a run at a point, that run is used. Otherwise, a second point
        with the same params is a replicate, as with `add_run`.

        Args:
            rows: A frame with one column a param, such as the result of `Session.query`. Each of
                its rows is combined with all points of the grid.
            **grid: Values of each param: a list, range, array or any other iterable. The last
                param varies fastest. The runs of more than 2,000,000 points are streamed: they
                are in memory only while they are executed, see docs/execution.md.

        Returns:
            This experiment.

        Raises:
            InvalidGrid: A param has no values, or its values are not a collection; there are more
                than 100,000,000 points; or they are to be streamed, and the experiment has other
                runs.
        """
        made = Grid(rows, grid)
        if made.is_large:
            self._stream(made)
        else:
            self._definition.add_all(made, reuse_stored=True)
        return self

    def _stream(self, grid: Grid) -> None:
        """Take a grid whose runs are made while they are executed."""
        if len(self.runs) or self._state.revision is not None:
            raise InvalidGrid(
                f"experiment {self.name!r}: the {len(grid):,} runs of this grid are streamed, so "
                "the object that they are added to has no others: add them to a new one, "
                "session.add_experiment(name). What the database has of them is found there"
            )
        record = self._state.record([])
        streamed = StreamedGrid(grid, record.ids_name, buffers)
        state = StreamedState(self._state.store, record, Window(self, streamed))
        self._state, self._runs = state, StreamedRuns(lambda: self.name, len(streamed))
        self.__dict__.pop("_definition", None)

    @cached_property
    def _definition(self) -> Definition:
        is_stored = self._state.has
        return Definition(self._ids_name, lambda: self.name, self.runs, is_stored, buffers)

    def check_identities(self) -> None:
        """Refuse new runs that only their position identifies: their ids are not reproducible.

        Raises:
            InvalidInput: There are such runs, and they are not stored yet.
        """
        self._definition.refuse_unidentified(self._state.seen.__contains__)

    @contextmanager
    def run(self, /, **params: Any) -> Iterator[Run]:
        """Add a run whose step is the body of the ``with`` statement.

        The run is executed here and at once, without Prefect. It fails if the body raises, and
        the exception is raised.

        Args:
            **params: As for `add_run`.

        Yields:
            The new run.
        """
        run = self.add_run(**params)
        run.origin = self._state
        run.ledger.id_execution = note_by_hand(self._state)
        try:
            with logged_here(run):
                yield run
        except StopRun:
            run.ledger.state = "stopped"
            return
        except BaseException as error:
            run.ledger.state, run.ledger.error = "failed", repr(error)
            run.ledger.error_type = type(error).__name__
            raise
        run.ledger.state = "completed"

    def copy(self, name: str | None = None) -> Experiment:
        """Return a new experiment with copies of the runs, in the same session.

        Args:
            name: Name of the copy; ``<name> copy`` if None.

        Returns:
            The copy. It is in memory only until it is persisted.

        Raises:
            InvalidName: The name is not text, or is empty.
            StoreError: A run was deleted from the database, which alone had its series and files.
        """
        name = f"{self.name} copy" if name is None else name
        record = new_record(name, self.fields)
        if name == self.name:  # what was not loaded is not in the copy either
            here = self._state.record([])
            record.missing_fields, record.missing_runs = here.missing_fields, here.missing_runs
            record.original_name = here.original_name
        record.annotations = Annotations(dict(self.tags), self.note)
        twin = Experiment(self._state.store, record)
        twin._state.fingerprints = dict(self._state.fingerprints)
        self._state.load_executions()
        twin._state.executions = dict(self._state.executions)
        runs = [*self.runs.values()]
        copies = twin._definition.add_all([run.params for run in runs], reuse_stored=False)
        for run, added in zip(runs, copies, strict=True):
            added.fields, added.locals = Namespace(run.fields), Namespace(run.locals)
            added.kwargs, added.seed = run.kwargs, run.seed
            added.ledger = run.ledger.copy()
            added.ledger.position = None
        take_over(runs, copies)
        return twin

    # -- execution -------------------------------------------------------------------------------

    def execute(
        self,
        steps: Steps | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        n_jobs: int = -1,
        backend: Backend | None = None,
        task_runner: TaskRunner[Any] | None = None,
        runs_per_task: int | Literal["auto"] = "auto",
        retries: int = 0,
        retry_delay_seconds: float = 0,
        timeout_seconds: float | None = None,
        on_error: OnError = "raise",
        max_failures: int | None = None,
        checkpoint: Checkpoint = False,
        seed: int = 0,
        rerun: bool = False,
        stop: Rule | Sequence[Rule] | None = None,
        synchronous: bool = False,
        monitor: bool = False,
        shared: bool = False,
        lease_seconds: float | None = None,
        keep_logs: bool = False,
    ) -> Experiment:
        """Execute steps, as task runs if a flow or server is there; return the experiment.

        Args:
            steps: Functions of one run, in order, or one.
            kwargs: Values that all runs get as `run.kwargs`, by name.
            n_jobs: Workers on this machine; -1 is one a core, -2 one less.
            backend: ``"processes"``, ``"threads"``, ``"local"`` (one by one), ``"prefect"``.
            task_runner: A Prefect task runner, such as Dask's; see docs/execution.md.
            runs_per_task: Runs in a task run; ``"auto"`` derives it from how long runs take.
            retries: How often the failed runs of a task run are tried again.
            retry_delay_seconds: Pause before each retry, in seconds.
            timeout_seconds: Limit for one run in one step, in seconds; None is no limit.
            on_error: ``"raise"`` at the end, ``"keep"`` it for `persist`, ``"stop"`` at the first.
            max_failures: Start no more runs after this many failures; None is no limit.
            checkpoint: Whether to write runs as they complete, and skip those that have; or what
                to do with results of other code: ``"accept"`` or ``"replace"`` them.
            seed: Seed of `run.rng`, with the run's id and the step's name; 0 to 2**128 - 1.
            rerun: Whether to execute stored runs again that have completed equal steps.
            stop: A rule, or several, that stop runs early by what they log; see docs/series.md.
            synchronous: Whether steps wait for such decisions, so that timing does not matter.
            monitor: Whether rows of the series tell what runs use of CPU, memory and GPU.
            shared: Whether processes share the runs out; see docs/shared.md.
            lease_seconds: How long the others wait for a sign of this one; None is 30.
            keep_logs: Whether what runs log and print is kept in files of theirs; docs/files.md.

        Raises:
            InvalidInput: An option or a step cannot be used; nothing was changed.
            RunsFailed, RunsMissing, StoreError, Abort, CancelledRun: Some runs have not ended.
        """
        options = ExecutionOptions({} if kwargs is None else kwargs, n_jobs, backend, task_runner,
            runs_per_task, retries, retry_delay_seconds, timeout_seconds, on_error, max_failures,
            checkpoint, seed, rerun, inside_task(), stop, synchronous, monitor, shared,
            lease_seconds, keep_logs)  # fmt: skip
        if (error := self._failures_of(steps, options)) is not None:
            raise error
        return self

    def _failures_of(self, steps: Steps | None, options: ExecutionOptions) -> RunsFailed | None:
        """Execute steps; return the error about runs that have failed, which `execute` raises."""
        state = self._state
        execution = (
            StreamedExecution(state, steps, options)
            if isinstance(state, StreamedState)
            else Execution(self, state, steps, options)
        )
        if not self.runs and self._state.revision is None:
            self.add_run()
        if options.checkpoint:
            self.check_identities()
        return execution.execute(self._failures)

    def tell_kept_failures(self) -> None:
        """Raise for the failures that ``execute(on_error="keep")`` has kept; only once.

        Raises:
            RunsFailed: There are such failures.
        """
        if (error := self._failures.take()) is not None:
            raise error

    # -- database --------------------------------------------------------------------------------

    def persist(
        self,
        if_exists: IfExists = "fail",
        *,
        store_pickle: bool = False,
        report: bool | Sequence[str] = True,
        on_error: Literal["raise", "keep"] = "raise",
    ) -> Experiment:
        """Write the experiment to its session's database, in one transaction.

        Inside a flow this is a task run. If it writes anything, it emits the event
        `mltraq.experiment.persisted` and makes a summary of the experiment as an artifact.

        Args:
            if_exists: What to do if the database has an experiment of this name: ``"fail"``;
                ``"replace"`` it, but for tags and a note that are not given anew; or ``"merge"``:
                update and add runs and fields, and leave all others as they are.
            store_pickle: Whether to store the whole experiment, with locals, as a signed pickle
                too.
            report: Whether to make the summary; or the keys of numeric fields to show in it.
            on_error: ``"raise"`` raises after writing if ``execute(on_error="keep")`` kept
                failures that were not raised yet, so that a flow run ends as Failed. ``"keep"``
                returns.

        Returns:
            This experiment.

        Raises:
            InvalidInput: An option cannot be used, or the experiment was loaded in part and
                ``"replace"`` would destroy the rest; nothing was written.
            RunsFailed: Some runs have failed, see `on_error`; everything was written.
            ExperimentExists: With ``"fail"``, the name is taken; nothing was written.
            UnsupportedType: A value cannot be stored exactly; nothing was written.
            InvalidName: The name or a field key cannot be stored; nothing was written.
            StoreError: The database refused, or others have changed the same values in a merge;
                the database is as it was before.
        """
        report = check_persist(if_exists, store_pickle, report, on_error)
        if if_exists == "merge":
            self.check_identities()
        persist(self._state, if_exists, report, store_pickle=store_pickle)
        if on_error == "raise" and (error := self._failures.take()) is not None:
            raise error
        self._failures.forget()
        return self

    def record(self) -> Record:
        """Return the experiment as storage reads and writes it; for the package itself."""
        self._state.load_executions()
        return self._state.record(self.runs.values())
