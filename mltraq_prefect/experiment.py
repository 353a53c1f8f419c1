"""An experiment: a named set of runs, and fields of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from mltraq_prefect.errors import InvalidInput, InvalidName, RunsFailed
from mltraq_prefect.run import Namespace, Run, Runs, expand_grid, run_ids
from mltraq_prefect.storage import Record, Store, Written
from mltraq_prefect.storage.pickles import seal, user_key

if TYPE_CHECKING:
    import pandas as pd
    from prefect.task_runners import TaskRunner

    from mltraq_prefect.execution import Step

IfExists = Literal["fail", "replace", "merge"]
Backend = Literal["processes", "threads", "local"]
Steps = Callable[[Run], object] | Iterable[Callable[[Run], object]]


class Experiment:
    """A named set of runs; made by `Session.add_experiment` and `Session.load`.

    Attributes:
        name: What identifies it in its database.
        id_experiment: UUID as text. One that is merged into a stored experiment adopts its id.
        fields: What is tracked of the experiment as a whole.
        runs: Its runs in order, by `id_run`.
    """

    def __init__(self, store: Store, record: Record) -> None:
        self._store = store
        self._properties = record.properties
        self._revision = record.revision
        self._snapshot = record.snapshot
        self._replicates: dict[str, Iterator[str]] = {}
        self.name = record.name
        self.id_experiment = record.id_experiment
        self.fields = Namespace(record.fields)
        self.runs = Runs(record.runs)

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, runs={len(self.runs)}, store={self._store.url!r})"

    # -- definition ------------------------------------------------------------------------------

    def add_run(self, **params: Any) -> Run:
        """Add a run with these params and return it.

        Another run of the same params is a replicate: a run of its own.
        """
        position = len(self.runs)
        ids = run_ids(self.name, params, position)
        id_run = next(id_run for id_run in ids if id_run not in self.runs)
        self.runs[id_run] = run = Run(id_run, params=params)
        return run

    def add_runs(self, **grid: Iterable[Any]) -> Experiment:
        """Add a run for each point of the Cartesian product of the params' values.

        Raises:
            InvalidGrid: A param has no values, or something that is no collection of values.
        """
        for params in expand_grid(grid):
            self.add_run(**params)
        return self

    @contextmanager
    def run(self, **params: Any) -> Iterator[Run]:
        """Add a run whose step is the body of the ``with`` statement."""
        run = self.add_run(**params)
        try:
            yield run
        except BaseException as error:
            run.ledger.state, run.ledger.error = "failed", repr(error)
            raise
        run.ledger.state = "completed"

    def copy(self, name: str | None = None) -> Experiment:
        """Return a new experiment with copies of the runs, in the same session.

        Args:
            name: Its name; ``<name> copy`` if None.
        """
        name = f"{self.name} copy" if name is None else name
        twin = Experiment(self._store, new_record(name, self.fields))
        for run in self.runs.values():
            added = twin.add_run(**run.params)
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
        on_error: Literal["raise", "keep"] = "raise",
        seed: int = 0,
    ) -> Experiment:
        """Execute steps on every run: as task runs of the current flow, or as a flow of its own.

        Args:
            steps: A function of one run, or several in order. An experiment without runs gets one.
            kwargs: What all runs get as `run.kwargs`.
            n_jobs: Number of workers on this machine; -1 is one a core.
            backend: ``"processes"`` (default), ``"threads"``, or ``"local"``: one run after the
                other in this process, without Prefect. Inside a task it is always ``"local"``.
            task_runner: Any Prefect task runner, to execute batches elsewhere.
            runs_per_task: Runs that one task run handles; ``"auto"`` makes at most 100 task runs
                a step.
            retries: How often the failed runs of a task run are tried again.
            retry_delay_seconds: Pause before they are, in seconds.
            on_error: ``"raise"`` executes every run, keeps every success, then raises;
                ``"keep"`` returns.
            seed: Seed of `run.rng`, together with the run's id and the step's name.

        Raises:
            InvalidInput: An option, or a step, that cannot be used.
            RunsFailed: A step raised in some runs.
        """
        from mltraq_prefect.execution import as_steps, execute_serially

        _check_options(backend, on_error, runs_per_task, retries, seed)
        prepared = as_steps(steps, kwargs or {}, seed)
        runs = self._prepared_runs(kwargs or {}, seed)
        if backend == "local" or _inside_task():
            execute_serially(prepared, runs, retries)
            self._raise_failures(runs, on_error)
        elif prepared and runs:
            self._execute_in_flow(
                prepared,
                runs,
                on_error,
                backend=backend or "processes",
                n_jobs=n_jobs,
                task_runner=task_runner,
                runs_per_task=runs_per_task,
                retries=retries,
                retry_delay_seconds=retry_delay_seconds,
            )
        return self

    def _prepared_runs(self, kwargs: Mapping[str, Any], seed: int) -> list[Run]:
        if not self.runs and self._revision is None:
            self.add_run()
        shared = Namespace(kwargs)
        runs = list(self.runs.values())
        for run in runs:
            entry = run.ledger
            run.kwargs, run.seed = shared, seed
            entry.state, entry.error = "pending", None
            entry.started_at = entry.duration_s = None
        return runs

    def _execute_in_flow(
        self, steps: Sequence[Step], runs: list[Run], on_error: str, **options: Any
    ) -> None:
        from mltraq_prefect.orchestration import execute_in_tasks, in_flow

        def body() -> None:
            execute_in_tasks(steps, runs, self._collect, **options)
            self._raise_failures(runs, on_error)

        in_flow(f"{self.name}: {', '.join(step.name for step in steps)}", body)

    def _collect(self, results: Iterable[Run]) -> None:
        for result in results:
            run = self.runs[result.id_run]
            run.fields, run.locals, run.ledger = result.fields, result.locals, result.ledger

    def _raise_failures(self, runs: Sequence[Run], on_error: str) -> None:
        failed = [run for run in runs if run.ledger.state == "failed"]
        if failed and on_error == "raise":
            shown = failed[: RunsFailed.SHOWN]
            failures = [(f"run {run.describe()}", run.ledger.error or "") for run in shown]
            raise RunsFailed(self.name, len(failed), len(runs), failures)

    # -- database --------------------------------------------------------------------------------

    def persist(self, if_exists: IfExists = "fail", *, store_pickle: bool = False) -> Experiment:
        """Write the experiment to its session's database, in one transaction.

        Args:
            if_exists: If the database has an experiment of this name: ``"fail"``; ``"replace"`` it;
                or ``"merge"``: update and add runs and fields, and leave all others as they are.
            store_pickle: Also store the whole experiment, with locals, as a signed pickle.

        Raises:
            ExperimentExists: With ``"fail"``, the name is taken.
            UnsupportedType: A value that cannot be stored exactly; nothing was written.
            InvalidName: The name or a field key cannot be stored; nothing was written.
            StoreError: The database refused; it is as it was before.
        """
        if if_exists not in ("fail", "replace", "merge"):
            raise InvalidInput(f'if_exists is {if_exists!r}; use "fail", "replace" or "merge"')
        write = self._write_with_pickle if store_pickle else self._write
        written = _in_task("persist", self.name, lambda: write(if_exists))
        self.id_experiment = written.id_experiment
        self._revision, self._snapshot = written.revision, written.snapshot
        return self

    def _write(self, mode: IfExists) -> Written:
        return self._store.write(self.record(), mode)

    def _write_with_pickle(self, mode: IfExists) -> Written:
        record, key = self.record(), user_key()

        def sealed(id_experiment: str) -> bytes:
            return seal(record, key, (self.name, id_experiment))

        return self._store.write(record, mode, pickle=sealed)

    def record(self) -> Record:
        """Return the experiment as storage sees it."""
        return Record(
            name=self.name,
            id_experiment=self.id_experiment,
            fields=self.fields,
            runs=list(self.runs.values()),
            properties=self._properties,
            revision=self._revision,
            snapshot=self._snapshot,
        )

    def delete(self) -> None:
        """Delete the experiment from the database; this object keeps its runs.

        Raises:
            ExperimentNotFound: The database does not have it.
        """
        self._store.delete(self.name)
        self._revision = self._snapshot = None

    def query(
        self, sql: str = "SELECT * FROM {experiment}", params: Mapping[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the rows of an SQL statement.

        Args:
            sql: ``{experiment}`` stands for the experiment's table, ``:x`` for the param `x`.
            params: Values of the params.
        """
        return query_frame(self._store, sql, params, {"experiment": self.name})

    def df(self) -> pd.DataFrame:
        """Return the experiment's own fields as a frame of one row; for the runs see `runs.df`."""
        import pandas as pd

        values = {"id_experiment": self.id_experiment, "name": self.name, **self.fields}
        return pd.DataFrame(
            {key: pd.Series([value], dtype=object) for key, value in values.items()}
        )

    def info(self) -> pd.Series[Any]:
        """Return what there is to know at a glance: names, counts, the table."""
        import pandas as pd

        runs = list(self.runs.values())
        states = [run.ledger.state for run in runs]
        return pd.Series(
            {
                "name": self.name,
                "id_experiment": self.id_experiment,
                "fields": list(self.fields),
                "run_count": len(runs),
                "run_params": _keys(run.params for run in runs),
                "run_fields": _keys(run.fields for run in runs),
                "run_steps": _keys(run.ledger.steps for run in runs),
                "run_states": {state: states.count(state) for state in dict.fromkeys(states)},
                "table_name": self._store.table_of(self.name),
                "revision": self._revision,
            }
        )


def new_record(name: str, fields: Mapping[str, Any]) -> Record:
    """Return the record of an experiment that no database has seen.

    Raises:
        InvalidName: The name is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise InvalidName(f"the name of an experiment must be a non-empty string, not {name!r}")
    return Record(name=name, id_experiment=str(uuid.uuid4()), fields=dict(fields), runs=[])


def query_frame(
    store: Store, sql: str, params: Mapping[str, Any] | None, names: Mapping[str, str]
) -> pd.DataFrame:
    """Return the rows of an SQL statement as a frame."""
    import pandas as pd

    columns, rows = store.query(sql, params, names=names)
    return pd.DataFrame(rows, columns=columns)


def _keys(namespaces: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for namespace in namespaces for key in namespace))


def _check_options(
    backend: str | None, on_error: str, runs_per_task: int | str, retries: int, seed: int
) -> None:
    if backend not in (None, "processes", "threads", "local"):
        raise InvalidInput(f'backend is {backend!r}; use "processes", "threads" or "local"')
    if on_error not in ("raise", "keep"):
        raise InvalidInput(f'on_error is {on_error!r}; use "raise" or "keep"')
    if runs_per_task != "auto" and not _at_least(1, runs_per_task):
        raise InvalidInput(f'runs_per_task is {runs_per_task!r}; use "auto" or a positive integer')
    if not _at_least(0, retries):
        raise InvalidInput(f"retries is {retries!r}; use 0 or a positive integer")
    if not _at_least(0, seed):
        raise InvalidInput(f"seed is {seed!r}; use 0 or a positive integer")


def _at_least(least: int, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _inside_task() -> bool:
    import sys

    if "prefect" not in sys.modules:
        return False
    from mltraq_prefect.orchestration import inside_task

    return inside_task()


def _in_task(name: str, subject: str, body: Callable[[], Written]) -> Written:
    import sys

    if "prefect" not in sys.modules:
        return body()
    from mltraq_prefect.orchestration import in_task

    return in_task(name, subject, body)
