"""An experiment: a named set of runs with fields of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from mltraq_prefect.checkpoints.announcement import announce_written
from mltraq_prefect.checkpoints.execution import Execution, Steps
from mltraq_prefect.checkpoints.persist_options import check_persist, check_report
from mltraq_prefect.checkpoints.signing import signing_key
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.codecs import buffers
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution import ExecutionOptions, how_to_go_on
from mltraq_prefect.execution.kept_failures import KeptFailures
from mltraq_prefect.model.grid import points
from mltraq_prefect.model.hints import no_attribute
from mltraq_prefect.model.identity import Canonical, key_of, nameless, position_key, run_ids
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.params import Params
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.orchestration.current import in_task, inside_task
from mltraq_prefect.reports.overview import counts_of, links_of
from mltraq_prefect.storage import Record, Store, Written
from mltraq_prefect.storage.frames import query_frame
from mltraq_prefect.storage.records import new_record

if TYPE_CHECKING:
    import pandas as pd
    from prefect.task_runners import TaskRunner

    from mltraq_prefect.execution.options import Backend, Checkpoint, OnError

IfExists = Literal["fail", "replace", "merge"]

_INSTEAD = {
    **dict.fromkeys(("reload", "refresh", "load"), "session.load(name)"),
    **dict.fromkeys(("save", "store", "write", "to_sql"), "persist()"),
    **dict.fromkeys(("run_all", "run_steps", "start", "fit", "submit"), "execute(steps)"),
    **dict.fromkeys(("frame", "to_df", "to_pandas", "results"), "runs.df()"),
    **dict.fromkeys(("params", "locals", "ledger"), "runs: each run has its own"),
}
"""What other names for our methods are taken to mean."""


class Experiment:
    """A named set of runs; made by `Session.add_experiment` and `Session.load`.

    Attributes:
        name: What identifies it in its database.
        id_experiment: UUID as text. One that is merged into a stored experiment adopts its id.
        fields: What is tracked of the experiment as a whole.
        runs: Its runs in order, by `id_run`.
    """

    def __init__(self, store: Store, record: Record) -> None:
        self._name = record.name
        self._replicates: dict[str, Iterator[str]] = {}
        self._by_position: set[str] = set()
        self.fields = Namespace(record.fields)
        self.runs = Runs(record.runs)
        self._state = StoredState(store, record, self)
        self._failures = KeptFailures(record.name)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say what to write instead of an attribute that there is not."""
            raise no_attribute(self, name, _INSTEAD, dir(type(self)))

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, runs={len(self.runs)}, store={self._state.store.url!r})"

    @property
    def name(self) -> str:
        """What identifies the experiment in its database; `copy` makes one of another name."""
        return self._name

    @name.setter
    def name(self, value: object) -> NoReturn:
        raise AttributeError(
            f"experiment {self._name!r} cannot be renamed: its name identifies it, and the ids of "
            f"its runs depend on it; experiment.copy({value!r}) makes another experiment of it"
        )

    @property
    def id_experiment(self) -> str:
        """UUID as text; an experiment that is merged into a stored one adopts its id."""
        return self._state.id_experiment

    @id_experiment.setter
    def id_experiment(self, value: object) -> NoReturn:
        raise AttributeError(
            f"experiment {self._name!r}: id_experiment cannot be set to {value!r}: it identifies "
            "the experiment in its database"
        )

    # -- definition ------------------------------------------------------------------------------

    def add_run(self, /, **params: Any) -> Run:
        """Add a run with these params and return it.

        Another run of the same params is a replicate: a run of its own.
        """
        return self._add(params, Canonical(buffers))

    def _add(self, params: Mapping[str, Any], forms: Canonical, *, as_point: bool = False) -> Run:
        key = key_of(params, forms)
        ids = run_ids(self.name, position_key(len(self.runs)) if key is None else key)
        id_run = first = next(ids)
        if first in self.runs:
            if as_point and self._state.has(self.runs[first]):
                return self.runs[first]
            ids = self._replicates.setdefault(first, ids)
            id_run = next(id_run for id_run in ids if id_run not in self.runs)
        self.runs[id_run] = run = Run(id_run, params=params)
        run.params = Params(params)
        if key is None:
            self._by_position.add(id_run)
        return run

    def add_runs(self, rows: pd.DataFrame | None = None, /, **grid: Iterable[Any]) -> Experiment:
        """Add a run for each point of the Cartesian product of the params' values.

        A point of which the database has a run already is that run; other points of the same params
        are replicates, as with `add_run`.

        Args:
            rows: A frame with a column for each param, such as what `Session.query` returns; each
                of its rows is combined with all points of the grid.
            **grid: Values of each param: a list, range, array or any other iterable.

        Raises:
            InvalidGrid: A param has no values, or something that is no collection of values; or
                there are more points than a process should hold (`grid.MAX_POINTS`).
        """
        forms = Canonical(buffers)
        for params in points(rows, grid):
            self._add(params, forms, as_point=True)
        return self

    def check_identities(self) -> None:
        """Refuse runs that nothing but their position identifies, where ids decide what is what.

        Raises:
            InvalidInput: There are such runs, which the database does not know yet.
        """
        for id_run in self._by_position:
            if id_run in self.runs and id_run not in self._state.seen:
                run = self.runs[id_run]
                name, reason = nameless(run.params, Canonical(buffers))
                raise InvalidInput(
                    f"experiment {self.name!r}, run {run.describe()}: nothing identifies param "
                    f"{name!r} ({reason}), so that another run could take this one's place in the "
                    "database; checkpoints and merges need that. Give as param what the value is "
                    "made from (a path, a name, settings), and make it in a step"
                )

    @contextmanager
    def run(self, /, **params: Any) -> Iterator[Run]:
        """Add a run whose step is the body of the ``with`` statement."""
        run = self.add_run(**params)
        try:
            yield run
        except BaseException as error:
            run.ledger.state, run.ledger.error = "failed", repr(error)
            run.ledger.error_type = type(error).__name__
            raise
        run.ledger.state = "completed"

    def copy(self, name: str | None = None) -> Experiment:
        """Return a new experiment with copies of the runs, in the same session.

        Args:
            name: Its name; ``<name> copy`` if None.
        """
        name = f"{self.name} copy" if name is None else name
        record = new_record(name, self.fields)
        if name == self.name:  # what was not loaded is not in the copy either
            here = self._state.record([])
            record.missing_fields, record.missing_runs = here.missing_fields, here.missing_runs
        twin = Experiment(self._state.store, record)
        twin._state.fingerprints = dict(self._state.fingerprints)
        forms = Canonical(buffers)
        for run in self.runs.values():
            added = twin._add(run.params, forms)
            added.fields, added.locals = Namespace(run.fields), Namespace(run.locals)
            added.kwargs, added.seed = run.kwargs, run.seed
            added.ledger = run.copy().ledger
            added.ledger.position = None
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
    ) -> Experiment:
        """Execute steps on every run: as task runs of the current flow, or as a flow of its own.

        A run in which an earlier step has failed is left out, and its error stays.

        Args:
            steps: A function of one run, or several in order. An experiment without runs gets one.
            kwargs: What all runs get as `run.kwargs`.
            n_jobs: Number of workers on this machine; -1 is one a core.
            backend: ``"processes"`` (default), ``"threads"``, or ``"local"``: one run after the
                other in this process, without Prefect, as always inside a task.
            task_runner: A Prefect task runner: Dask's or Ray's for a cluster; in the threads of a
                `ThreadPoolTaskRunner` steps run themselves, unless `backend` is ``"processes"``.
            runs_per_task: Runs a task run; ``"auto"`` learns how many from how long runs take.
            retries: How often the failed runs of a task run are tried again.
            retry_delay_seconds: Pause before they are, in seconds.
            timeout_seconds: How long a step may take for one run; its worker is killed then.
            on_error: ``"raise"`` executes all, keeps successes, then raises; ``"keep"`` leaves it
                to `persist` to raise, when it has written; ``"stop"`` stops at the first failure.
            max_failures: Begin no run after so many have failed; they stay pending.
            checkpoint: Whether to write each run as it completes, and to execute none again that
                did so earlier with equal steps, kwargs and seed. If what is stored was computed
                otherwise, ``"accept"`` keeps it, ``"replace"`` discards it, and True refuses.
            seed: Seed of `run.rng`, with the run's id and the step's name; 0 to 2**128 - 1.
            rerun: Whether runs of the database that have completed equal steps are executed again.

        Raises:
            InvalidInput: An option or a step cannot be used; nothing was changed.
            RunsFailed: A step raised in some runs.
        """
        options = ExecutionOptions(
            {} if kwargs is None else kwargs, n_jobs, backend, task_runner, runs_per_task, retries,
            retry_delay_seconds, timeout_seconds, on_error, max_failures, checkpoint, seed, rerun,
            inside_task(),
        )  # fmt: skip
        execution = Execution(self, self._state, steps, options)
        self._prepare_runs(options)
        try:
            execution.execute(self._failures)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(how_to_go_on(self.name, self.runs.values(), options)) from None
        return self

    def _prepare_runs(self, options: ExecutionOptions) -> None:
        if not self.runs and self._state.revision is None:
            self.add_run()
        shared = Namespace(options.kwargs)
        for run in self.runs.values():
            run.kwargs, run.seed = shared, options.seed
        if options.checkpoint:
            self.check_identities()

    def tell_kept_failures(self) -> None:
        """Raise for failures that ``execute(on_error="keep")`` has kept; once.

        Raises:
            RunsFailed: There are such failures.
        """
        self._failures.tell()

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

        In a flow it is a task run, which emits the event `mltraq.experiment.persisted` and makes
        a summary of the experiment as an artifact, if it has written anything.

        Args:
            if_exists: If the database has an experiment of this name: ``"fail"``; ``"replace"`` it;
                or ``"merge"``: update and add runs and fields, and leave all others as they are.
            store_pickle: Also store the whole experiment, with locals, as a signed pickle.
            report: Whether to make the summary, or the numeric fields to show in it.
            on_error: Whether to raise at the end if runs failed in ``execute(on_error="keep")`` of
                which nobody has been told yet, so that a flow run ends Failed; ``"keep"`` returns.

        Raises:
            RunsFailed: There are such runs; everything was written.
            ExperimentExists: With ``"fail"``, the name is taken.
            UnsupportedType: A value that cannot be stored exactly; nothing was written.
            InvalidName: The name or a field key cannot be stored; nothing was written.
            StoreError: The database refused; it is as it was before.
        """
        check_persist(if_exists, report, on_error)
        if if_exists == "merge":
            self.check_identities()
            self._state.tell_of_deleted()
        elif if_exists == "replace":
            self._state.refuse_replace('if_exists="replace"')
        if not isinstance(report, bool):
            check_report(report, self, self._state)

        def body() -> Written:
            written = self._state.write(if_exists, signing_key if store_pickle else None)
            announce_written(self._state, written, if_exists, report)
            return written

        self._state.settle(in_task("persist", self.name, body), if_exists)
        if on_error == "raise":
            self.tell_kept_failures()
        self._failures.forget()
        return self

    def record(self) -> Record:
        """Return the experiment as storage sees it."""
        return self._state.record()

    def delete(self) -> None:
        """Delete the experiment from the database; this object keeps its runs.

        Raises:
            ExperimentNotFound: The database does not have it.
        """
        self._state.delete()

    def query(
        self, sql: str = "SELECT * FROM {experiment}", params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the rows of an SQL statement.

        Args:
            sql: ``{experiment}`` stands for the experiment's table, ``:x`` for the param `x`.
            params: Values of the params.
        """
        return query_frame(self._state.store, sql, params, {"experiment": self.name})

    def df(self) -> pd.DataFrame:
        """Return the experiment's own fields as a frame of one row; for the runs see `runs.df`."""
        import pandas as pd

        values = {"id_experiment": self.id_experiment, "name": self.name, **self.fields}
        return pd.DataFrame(
            {key: pd.Series([value], dtype=object) for key, value in values.items()}
        )

    def links(self) -> pd.DataFrame:
        """Return for each run and step the pages of its flow run and task run in the Prefect UI.

        Returns:
            A frame with one row a run and step, in the order of the runs; a run of which no step
            was executed has one row. Columns: `id_run`, `run` (its params), `step`, `flow_run` and
            `task_run`: URLs, or None for what no flow has executed, and if no Prefect server is
            configured.
        """
        from mltraq_prefect.orchestration import page_url

        return links_of(self.runs.values(), page_url)

    def info(self) -> pd.Series[Any]:
        """Return what there is to know at a glance: names, counts, the table and its size.

        `bytes` are those of the table and of large values beside it; None if it is not stored.
        """
        import pandas as pd

        store = self._state.store
        return pd.Series(
            {
                "name": self.name,
                "id_experiment": self.id_experiment,
                "fields": list(self.fields),
                **counts_of(self.runs.values()),
                "table_name": store.table_of(self.name),
                "revision": self._state.revision,
                "bytes": store.size(self.name),
            }
        )
