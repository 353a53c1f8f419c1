"""An experiment: a named set of runs with fields of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from mltraq_prefect.checkpoints.released_fields import ReleasedFields
from mltraq_prefect.checkpoints.resume import (
    CheckpointedResults,
    Resumed,
    joined,
    parts_of,
    parts_of_params,
)
from mltraq_prefect.checkpoints.selection import LeftOut, Selection, select, tell_of_deleted
from mltraq_prefect.codecs import buffers
from mltraq_prefect.errors import InvalidInput, InvalidName
from mltraq_prefect.execution.results import Results, refuse_missing, start
from mltraq_prefect.model.grid import points
from mltraq_prefect.model.hints import no_attribute, unknown_name
from mltraq_prefect.model.identity import Canonical, key_of, nameless, position_key, run_ids
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.storage import Record, Store, Written
from mltraq_prefect.storage.pickles import seal_record, user_key
from mltraq_prefect.storage.records import Seen, Snapshot
from mltraq_prefect.storage.values.checks import check_fields

if TYPE_CHECKING:
    import pandas as pd
    from prefect.task_runners import TaskRunner

    from mltraq_prefect.execution import ExecutionOptions, RunFingerprints, Step
    from mltraq_prefect.execution.options import Backend, Checkpoint, OnError

IfExists = Literal["fail", "replace", "merge"]
Steps = Callable[[Run], object] | Iterable[Callable[[Run], object]]


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
        self._store = store
        self._properties = record.properties
        self._revision = record.revision
        self._snapshot = record.snapshot
        self._replicates: dict[str, Iterator[str]] = {}
        self._by_position: set[str] = set()
        self._name = record.name
        self._id_experiment = record.id_experiment
        self._left_out = LeftOut(record.missing_fields, record.missing_runs)
        self._fingerprints = dict(record.fingerprints)
        self.fields = Namespace(record.fields)
        self.runs = Runs(record.runs)
        self._released = ReleasedFields(store, record.name, self.runs, self._remember)
        self._unannounced: Written | None = None
        self._untold: dict[str, Run] = {}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say what to write instead of an attribute that there is not."""
            raise no_attribute(self, name, _INSTEAD, dir(type(self)))

    def __repr__(self) -> str:
        return f"Experiment({self.name!r}, runs={len(self.runs)}, store={self._store.url!r})"

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
        return self._id_experiment

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
            if as_point and self._is_stored(first):
                return self.runs[first]
            ids = self._replicates.setdefault(first, ids)
            id_run = next(id_run for id_run in ids if id_run not in self.runs)
        self.runs[id_run] = run = Run(id_run, params=params)
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

    def _is_stored(self, id_run: str) -> bool:
        """Whether the database has a run, as far as this experiment knows."""
        seen = {} if self._snapshot is None else self._snapshot.runs
        run = self.runs.get(id_run)
        return id_run in seen or (run is not None and run.is_of(self._released))

    def check_identities(self) -> None:
        """Refuse runs that nothing but their position identifies, where ids decide what is what.

        Raises:
            InvalidInput: There are such runs, which the database does not know yet.
        """
        stored = {} if self._snapshot is None else self._snapshot.runs
        for id_run in self._by_position:
            if id_run in self.runs and id_run not in stored:
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
        twin = Experiment(self._store, new_record(name, self.fields))
        twin._fingerprints = dict(self._fingerprints)
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
            seed: Seed of `run.rng`, together with the run's id and the step's name.
            rerun: Whether runs of the database that have completed equal steps are executed again.

        Raises:
            InvalidInput: An option or a step cannot be used; nothing was changed.
            RunsFailed: A step raised in some runs.
        """
        from mltraq_prefect.execution import ExecutionOptions, how_to_go_on

        options = ExecutionOptions(
            {} if kwargs is None else kwargs, n_jobs, backend, task_runner, runs_per_task, retries,
            retry_delay_seconds, timeout_seconds, on_error, max_failures, checkpoint, seed, rerun,
            _inside_task(),
        )  # fmt: skip
        prepared = self._prepared(steps, options)
        try:
            self._execute(prepared, options)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(how_to_go_on(self.name, self.runs.values(), options)) from None
        return self

    def _prepared(self, steps: Steps | None, options: ExecutionOptions) -> list[Step]:
        """Check steps, and whether they can be executed as the options say."""
        from mltraq_prefect.execution import as_steps, refuse_edited, refuse_while_preparing

        if not options.is_serial:
            refuse_while_preparing(self.name)
        _check_runner(options)
        prepared = as_steps(steps, options.kwargs, options.seed, check_fields, buffers)
        if options.has_workers:
            refuse_edited(prepared)
        self._fingerprints |= parts_of(prepared, self._fingerprints)
        return prepared

    def _execute(self, steps: Sequence[Step], options: ExecutionOptions) -> None:
        self._prepare_runs(options)
        from mltraq_prefect.execution import RunFingerprints

        prints = RunFingerprints({step.name: step.fingerprint for step in steps}, buffers)
        results: Results
        if options.checkpoint:
            selection = self._begin_checkpoint(steps, prints, options.checkpoint)
            results = CheckpointedResults(
                self.runs, steps, prints, self._write_some, self._released
            )
        else:
            selection = self._begin(steps, prints, options)
            results = Results(self.runs, prints)
        for run in selection.runs:
            prints.follow(run.params)
        self._fingerprints |= parts_of_params(prints)
        if options.is_serial:
            self._execute_here(steps, selection.runs, results, options)
        elif self.runs:
            self._execute_in_flow(steps, selection, results, options)

    def _begin(
        self, steps: Sequence[Step], prints: RunFingerprints, options: ExecutionOptions
    ) -> Selection:
        """Return the runs that are to be executed; points that were added may be stored ones."""
        if self._revision is not None:
            added = [id_run for id_run in self.runs if not self._is_stored(id_run)]
            self._adopt(self._store.entries(self.name, added))
        names = [step.name for step in steps]

        def is_complete(run: Run) -> bool:
            done, params = run.ledger.steps, run.params
            is_same = all(prints.is_same(name, params, done.get(name)) for name in names)
            return is_same and not options.rerun and self._is_stored(run.id_run)

        selection = select(self.runs.values(), names, is_complete)
        selection.tell(self.name)
        start(selection.runs, steps, prints)
        return selection

    def _prepare_runs(self, options: ExecutionOptions) -> None:
        if not self.runs and self._revision is None:
            self.add_run()
        shared = Namespace(options.kwargs)
        for run in self.runs.values():
            run.kwargs, run.seed = shared, options.seed

    def _begin_checkpoint(
        self, steps: Sequence[Step], prints: RunFingerprints, checkpoint: Checkpoint
    ) -> Selection:
        """Return the runs that are to be executed; the database lists all runs afterwards."""
        self.check_identities()
        if checkpoint == "replace":
            self._left_out.refuse_replace(self.name, 'checkpoint="replace"')
        afresh = checkpoint == "replace" or not self._store.exists(self.name)
        stored = None if afresh else self._store.read(self.name, columns=[])
        resumed = Resumed(stored, steps, prints, accept=checkpoint == "accept")
        resumed.check(self.name, self.runs.values())
        if stored is not None:
            self._id_experiment, self._revision = stored.id_experiment, stored.revision
            self._adopt(resumed.entries)
        names = [step.name for step in steps]
        selection = select(self.runs.values(), names, resumed.is_complete)
        selection._replace(completed=0).tell(self.name)
        runs = selection.runs
        start(runs, steps, prints)
        if checkpoint == "replace":
            self._released.give_back()
            self._write_some(list(self.runs.values()), "replace")
        elif new := [run for run in runs if run.id_run not in resumed.entries]:
            self._write_some(new)
        return selection

    def _adopt(self, entries: Mapping[str, LedgerEntry]) -> None:
        """Take over what the ledger says; fields that were never in memory stay in the database."""
        seen = {} if self._snapshot is None else self._snapshot.runs
        for run in self.runs.values():
            entry = entries.get(run.id_run)
            if entry is None:
                continue
            run.ledger = entry
            if run.is_of(self._released) or run.id_run in seen or run.fields:
                continue
            self._released.take([run])

    def _write_some(self, runs: list[Run], mode: IfExists = "merge") -> None:
        if mode == "merge":
            self._see_assigned(runs)
        written = self._store.write(self.record(runs), mode)
        self._id_experiment, self._revision = written.id_experiment, written.revision
        self._unannounced = joined(self._unannounced, written)
        if self._snapshot is None or self._snapshot.id_experiment != written.id_experiment:
            self._snapshot = Snapshot(written.id_experiment)
        self._snapshot.fields = written.snapshot.fields
        for run in runs:
            self._snapshot.runs.drop(run.id_run)

    def _see_assigned(self, runs: Iterable[Run]) -> None:
        """Look at what the database holds of runs whose fields were assigned, and never read."""
        seen = {} if self._snapshot is None else self._snapshot.runs
        unseen = [run for run in runs if run.is_of(self._released) and run.id_run not in seen]
        if unseen and self._store.exists(self.name):
            self._released.look_at(unseen)

    def _remember(self, id_experiment: str, id_run: str, seen: Seen) -> None:
        if self._snapshot is None or self._snapshot.id_experiment != id_experiment:
            self._snapshot = Snapshot(id_experiment)
        self._snapshot.runs.put(id_run, seen)

    def _execute_here(
        self, steps: Sequence[Step], runs: list[Run], results: Results, options: ExecutionOptions
    ) -> None:
        from mltraq_prefect.execution import execute_serially

        with results:
            cause = execute_serially(steps, runs, results.collect, options)
        self._settle(runs, options, cause)

    def _execute_in_flow(
        self,
        steps: Sequence[Step],
        selection: Selection,
        results: Results,
        options: ExecutionOptions,
    ) -> None:
        from mltraq_prefect.execution import prepare_workers

        if options.task_runner is None and options.backend != "threads" and not _inside_run():
            prepare_workers()  # while Prefect is imported, and makes the flow run
        from mltraq_prefect.orchestration import ShownProgress, execute_in_tasks, in_flow

        runs, table = selection.runs, self._store.table_of(self.name)
        total = len(runs) + selection.completed
        progress = ShownProgress(self.name, table, total, selection.completed)

        def body() -> None:
            with results:
                cause = execute_in_tasks(steps, runs, results, options, progress)
            self._settle(runs, options, cause)

        in_flow(f"{self.name}: {', '.join(step.name for step in steps)}", body)

    def _settle(
        self, runs: Sequence[Run], options: ExecutionOptions, cause: BaseException | None
    ) -> None:
        """Raise if runs failed, because of what a step raised, or leave that to `persist`.

        Raise as well if some have not come back.
        """
        refuse_missing(self.name, runs, options.failure_limit)
        if options.on_error == "keep":
            self._untold.update((run.id_run, run) for run in runs)
            return
        for run in runs:
            self._untold.pop(run.id_run, None)
        self._raise_failures(runs, cause)

    def tell_kept_failures(self) -> None:
        """Raise for failures that ``execute(on_error="keep")`` has kept; once.

        Raises:
            RunsFailed: There are such failures.
        """
        executed, self._untold = self._untold, {}
        self._raise_failures(executed.values())

    def _raise_failures(self, runs: Iterable[Run], cause: BaseException | None = None) -> None:
        from mltraq_prefect.execution import runs_failed

        if (error := runs_failed(self.name, runs)) is not None:
            raise error from cause

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
        self._check_persist(if_exists, report, on_error)
        write = self._write_with_pickle if store_pickle else self._write

        def body() -> Written:
            written = write(if_exists)
            self._announce(joined(self._unannounced, written), if_exists, report)
            self._unannounced = None
            return written

        written = _in_task("persist", self.name, body)
        self._id_experiment = written.id_experiment
        self._revision, self._snapshot = written.revision, written.snapshot
        if if_exists != "merge":
            self._left_out = LeftOut((), 0)
        if on_error == "raise":
            self.tell_kept_failures()
        self._untold = {}
        return self

    def _check_persist(
        self, if_exists: IfExists, report: bool | Sequence[str], on_error: str
    ) -> None:
        if if_exists not in ("fail", "replace", "merge"):
            raise InvalidInput(f'if_exists is {if_exists!r}; use "fail", "replace" or "merge"')
        if on_error not in ("raise", "keep"):
            raise InvalidInput(f'on_error is {on_error!r}; use "raise" or "keep"')
        if isinstance(report, str):
            raise InvalidInput(f"report is {report!r}; give a list of fields, True or False")
        if if_exists == "merge":
            self.check_identities()
            known = () if self._snapshot is None else self._snapshot.runs
            tell_of_deleted(self.name, known, self.runs)
        elif if_exists == "replace":
            self._left_out.refuse_replace(self.name, 'if_exists="replace"')
        if not isinstance(report, bool):
            self._check_report(report)

    def _check_report(self, report: Sequence[str]) -> None:
        """Refuse fields that no run has; runs that failed may lack any."""
        runs = [run for run in self.runs.values() if not self._released.has(run)]
        missing = [key for key in report if not any(key in run.fields for run in runs)]
        if not missing or not runs or any(run.ledger.state == "failed" for run in runs):
            return
        known = [*_keys(run.fields for run in runs), *self._store.keys(self.name)]
        if (unknown := unknown_name(missing, known)) is not None:
            raise InvalidInput(f"report: experiment {self.name!r} has no field {unknown}")

    def _write(self, mode: IfExists) -> Written:
        return self._store.write(self._record_for(mode), mode)

    def _record_for(self, mode: IfExists) -> Record:
        """Leave out of a merge what is in the database alone."""
        if mode != "merge":
            self._released.give_back()
            return self.record()
        here = [run for run in self.runs.values() if not self._released.has(run)]
        self._see_assigned(here)
        return self.record(here)

    def _write_with_pickle(self, mode: IfExists) -> Written:
        self._released.give_back()
        if mode == "merge":
            self._see_assigned(self.runs.values())
        record = self.record()
        return self._store.write(
            record, mode, pickle=lambda known_as: seal_record(record, signing_key(), known_as)
        )

    def _announce(self, written: Written, mode: IfExists, report: bool | Sequence[str]) -> None:
        if not written.changed or not _inside_run():
            return
        from mltraq_prefect.orchestration import Persisted, announce

        persisted = Persisted(
            experiment=self.name,
            id_experiment=written.id_experiment,
            table=written.table,
            mode=mode,
            runs=min(written.runs, len(self.runs)),  # checkpoints write a run more than once
            columns=written.columns,
            revision=written.revision,
            steps=written.steps,
        )
        announce(persisted, lambda most: self._store.numbers(self.name, most_runs=most), report)

    def record(self, runs: list[Run] | None = None) -> Record:
        """Return the experiment as storage sees it.

        Args:
            runs: Some of its runs; all if None.
        """
        return Record(
            name=self.name,
            id_experiment=self.id_experiment,
            fields=self.fields,
            runs=list(self.runs.values()) if runs is None else runs,
            properties=self._properties,
            revision=self._revision,
            snapshot=self._snapshot,
            missing_fields=self._left_out.fields,
            missing_runs=self._left_out.runs,
            fingerprints=self._fingerprints,
        )

    def delete(self) -> None:
        """Delete the experiment from the database; this object keeps its runs.

        Raises:
            ExperimentNotFound: The database does not have it.
        """
        self._released.give_back()
        self._store.delete(self.name)
        self._revision = self._snapshot = None
        self._released = ReleasedFields(self._store, self.name, self.runs, self._remember)

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

    def links(self) -> pd.DataFrame:
        """Return for each run and step the pages of its flow run and task run in the Prefect UI.

        Returns:
            A frame with one row a run and step, in the order of the runs; a run of which no step
            was executed has one row. Columns: `id_run`, `run` (its params), `step`, `flow_run` and
            `task_run`: URLs, or None for what no flow has executed, and if no Prefect server is
            configured.
        """
        import pandas as pd

        from mltraq_prefect.orchestration import page_url

        rows = [
            {
                "id_run": run.id_run,
                "run": run.describe(),
                "step": step,
                "flow_run": page_url("flow-run", entry.flow_run_id),
                "task_run": page_url("task-run", entry.task_run_id),
            }
            for run in self.runs.values()
            for step, entry in run.ledger.executions.items() or ((None, run.ledger),)
        ]
        columns = ["id_run", "run", "step", "flow_run", "task_run"]
        return pd.DataFrame(rows, columns=columns, dtype=object)

    def info(self) -> pd.Series[Any]:
        """Return what there is to know at a glance: names, counts, the table and its size.

        `bytes` are those of the table and of large values beside it; None if it is not stored.
        """
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
                "bytes": self._store.size(self.name),
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


def _check_runner(options: ExecutionOptions) -> None:
    """Check what only Prefect knows; without a task runner or a flow there is no such thing."""
    if options.is_serial or (options.task_runner is None and not _inside_run()):
        return
    from mltraq_prefect.orchestration import check_runner

    check_runner(options)


def signing_key() -> bytes:
    """Return the key that signs pickles: of the user or, inside a flow, of a Prefect block."""
    if not _inside_run():
        return user_key()
    from mltraq_prefect.orchestration import pickle_key_of_block

    return user_key(pickle_key_of_block)


def _inside_run() -> bool:
    import sys

    if "prefect" not in sys.modules:
        return False
    from mltraq_prefect.orchestration import inside_run

    return inside_run()


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
