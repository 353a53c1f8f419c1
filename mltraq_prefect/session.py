"""A session: one database and the experiments in it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.arguments import check_flags, flag_or_names, names_of, path_of
from mltraq_prefect.asking import Asking
from mltraq_prefect.catalogue import Catalogue
from mltraq_prefect.checkpoints.selection import as_pending
from mltraq_prefect.checkpoints.signing import signing_key
from mltraq_prefect.errors import InvalidInput, MltraqError
from mltraq_prefect.experiment import Experiment, IfExists
from mltraq_prefect.model.hints import no_attribute
from mltraq_prefect.model.html import page
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.provenance.facts import Setting
from mltraq_prefect.reports.session_page import session_page
from mltraq_prefect.requirements import check_installed
from mltraq_prefect.storage import Record, Store
from mltraq_prefect.storage.pickles import unseal
from mltraq_prefect.storage.reading.selections import selection
from mltraq_prefect.storage.records import new_record

if TYPE_CHECKING:
    from mltraq_prefect.execution.steps import StepFunction

_INSTEAD = {
    **dict.fromkeys(("create_experiment", "new_experiment", "experiment"), "add_experiment(name)"),
    **dict.fromkeys(("get", "get_experiment", "open", "reload", "read"), "load(name)"),
    **dict.fromkeys(("list", "experiments", "list_experiments", "search"), "ls()"),
    **dict.fromkeys(("save", "store", "write"), "experiment.persist()"),
    **dict.fromkeys(("df", "search_runs", "runs", "trials_dataframe"), "frame(name)"),
    **dict.fromkeys(("sql", "execute", "read_sql"), "query(sql)"),
    **dict.fromkeys(("delete", "drop", "remove"), "load(name).delete()"),
}
"""Names of other libraries for our methods, and what to write instead."""


class Session(Asking, Catalogue):
    """A database and the experiments in it; made by `create_session`.

    Several threads may use one session. It owns its connections: `close` it, or use it in a
    ``with`` statement, where that matters.

    Args:
        url: SQLAlchemy URL of the database.
        compress: Keys of fields whose binary values are compressed when written; True for all.
        create: Whether a missing SQLite file is created on the first write.
        provenance: What is noted of executions; see `create_session`.
        files: Where contents of files of runs are kept; None is in the database.

    Raises:
        InvalidInput: The URL cannot be used.
        StorageUnavailable: The database cannot be reached, or does not exist.
        ForeignTable: A table has one of our names, but another shape.
        NewerFormat: A later version of the package wrote the database.

    Examples:
        >>> session = create_session("sqlite://")
        >>> experiment = session.add_experiment("squares").add_runs(x=[1, 2])
        >>> _ = experiment.persist()
        >>> len(session.load("squares").runs)
        2
    """

    def __init__(
        self,
        url: str,
        *,
        compress: Collection[str] | bool = False,
        create: bool = True,
        provenance: Setting = "on",
        files: str | os.PathLike[str] | None = None,
    ) -> None:
        check_flags(create=create)
        compress = flag_or_names("compress", compress)
        for library in ("numpy", "pandas", "pyarrow", "sqlalchemy"):
            check_installed(library)
        self._store = Store(url, compress=compress, provenance=provenance, files=files)
        self._store.open(create=create)

    def __repr__(self) -> str:
        return f"Session({self._store.url!r})"

    def _repr_html_(self) -> str:
        try:
            return session_page(self._store.url, self._store.ls())
        except MltraqError as error:
            return page(repr(self), str(error))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Raise an error that suggests an existing attribute."""
            raise no_attribute(self, name, _INSTEAD, dir(type(self)))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def add_experiment(self, /, name: str | None = None, **fields: Any) -> Experiment:
        """Define an experiment; it is in memory only until it is persisted.

        The fixed tables are created now if they are missing. So a database that cannot be written
        is reported before any run is executed.

        Args:
            name: Any non-empty text. If None, a random name is made.
            **fields: Values of fields of the experiment as a whole.

        Returns:
            The experiment, without runs.

        Raises:
            InvalidName: The name is not text, or is empty.
            StoreError: The database cannot be reached or written.

        Examples:
            >>> create_session("sqlite://").add_experiment("squares")
            Experiment('squares', runs=0, store='sqlite://')
        """
        self._store.check()
        name = f"experiment_{uuid.uuid4().hex[:12]}" if name is None else name
        record = new_record(name, fields)
        record.original_name = self._store.original_name(name)
        return Experiment(self._store, record)

    def load(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        pending: str | StepFunction | None = None,
        failed: bool = False,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        pickle: bool = False,
    ) -> Experiment:
        """Read an experiment from the database.

        Args:
            name: Name of the experiment.
            columns: Keys of the fields to read of its runs; None reads all fields.
            pending: A step, or its name. Only those runs are read on which this step can be tried:
                runs that have not completed it, in which no other step has failed or is due, and
                which have not failed in it. If the step itself is given, runs that failed in
                another version of its code are read too.
            failed: Whether to read the runs that have failed in the step `pending` as well.
            where: A condition in SQL, as for `frame`; only runs of which it is true are read.
            params: Values of the params in it, by name.
            pickle: Whether to read the signed pickle that ``persist(store_pickle=True)`` has
                stored, instead of the tables: with locals, and as the experiment was then.

        Returns:
            The experiment. Large values are read from the database when they are used.

        Raises:
            ExperimentNotFound: The database has no experiment of this name; or, with `pickle`, no
                pickle of it.
            FieldNotFound: No run has one of the `columns`, or `where` names no column.
            InvalidInput: The arguments exclude each other, or `pending` is nearly the name of
                another step, or `where` is no condition.
            QueryFailed: The database does not understand `where`.
            CorruptData: Something in the tables is not what was written.
            UntrustedPickle: The pickle was not signed with this user's key.
            StorageUnavailable: The database cannot be reached.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2]).persist()
            >>> [run.params.x for run in session.load("squares").runs.values()]
            [1, 2]
        """
        check_flags(pickle=pickle)
        columns = names_of("columns", columns)
        chosen, some = as_pending(pending, failed), selection(where, params)
        if pickle and (columns is not None or pending is not None or where is not None):
            raise InvalidInput("a pickle is loaded whole: leave out columns, pending and where")
        if pickle:
            return Experiment(self._store, self._from_pickle(name))
        wanted = None if where is None else some
        record = self._store.read(name, columns=columns, pending=chosen, where=wanted)
        return Experiment(self._store, record)

    def _from_pickle(self, name: str) -> Record:
        sealed, id_experiment = self._store.read_pickle(name)
        original_name = self._store.original_name(name)
        record: Record = unseal(sealed, signing_key(), (original_name or name, id_experiment))
        record.name, record.original_name = name, original_name
        self._store.find_contents(name, id_experiment, record.runs)
        return record

    def persist(self, experiment: Experiment, if_exists: IfExists = "fail") -> Experiment:
        """Write an experiment of any session to this session's database.

        Args:
            experiment: The experiment; it keeps its own session.
            if_exists: As for `Experiment.persist`.

        Returns:
            The experiment as an object of this session.

        Raises:
            RunsFailed: ``execute(on_error="keep")`` kept failures; everything was written.
            ExperimentExists: With ``"fail"``, the name is taken; nothing was written.
            UnsupportedType: A value cannot be stored exactly; nothing was written.
            InvalidInput: `if_exists` cannot be used; nothing was written.
            StoreError: The database refused; it is as it was before.
        """
        if not isinstance(experiment, Experiment):
            raise InvalidInput(
                f"experiment is {experiment!r:.80}; use what load or add_experiment give"
            )
        if if_exists == "merge":
            experiment.check_identities()
        record = experiment.record()
        record.snapshot = record.revision = None
        written = Experiment(self._store, record).persist(if_exists)
        experiment.tell_kept_failures()
        return written

    def export(
        self,
        name: str | None,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        series: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Write the runs of an experiment, or of all, to files that other programs read.

        A file has a row for each run, in order: `id_run`, the params, the fields, and what the
        ledger says. A column has the name of its key. A param whose name is that of a field is
        ``param_<key>``, and a column of the ledger whose name is taken is ``run_<column>``. Each
        run is whole; runs that are written meanwhile may be in the file or not. A file of series
        has a row for each `Run.log`: `id_run`, `seq`, `step`, `at`, and what was logged.

        Args:
            name: Name of the experiment; None for all, each in a Parquet file of a folder, with
                another one of its series if there are any.
            path: The file, whose suffix says the format: ``.parquet``, ``.arrow`` or ``.feather``,
                ``.csv``, ``.jsonl`` or ``.ndjson``, ``.xlsx``. Or the folder, which is made.
            columns: Keys of the fields to write, or of what was logged; None writes all.
            series: Whether to write the series of the runs instead of the runs.
            overwrite: Whether to replace a file that exists.

        Raises:
            ExperimentNotFound: The database has no experiment of this name.
            FieldNotFound: No run has one of the `columns`.
            InvalidInput: The suffix says no format, the file exists, or such a file does not hold
                the values of some field; there is no file then, or the one that was there before.
            StoreError: The database cannot be read, or the experiment was replaced meanwhile.

        Examples:
            >>> import tempfile, pandas as pd
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2]).persist()
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     session.export("squares", f"{folder}/squares.csv")
            ...     pd.read_csv(f"{folder}/squares.csv")["x"].tolist()
            [1, 2]
        """
        from mltraq_prefect import tabular

        check_flags(series=series, overwrite=overwrite)
        columns, path = names_of("columns", columns), path_of("path", path)
        if name is None:
            if columns is not None:
                raise InvalidInput(
                    "columns are those of one experiment: name it, or leave them out"
                )
            if series:
                raise InvalidInput("series of all experiments are written beside their runs")
            tabular.export_all(self._store, path, overwrite=overwrite)
        else:
            tabular.export_experiment(
                self._store, name, path, columns=columns, series=series, overwrite=overwrite
            )

    def import_frame(
        self, frame: Any, name: str, params: Sequence[str] | None = None
    ) -> Experiment:
        """Define an experiment with a run for each row of a table; it is not persisted yet.

        What `export` has written to a Parquet or Arrow file comes back with equal values: params,
        fields, and what the ledger says. Any other table is divided by `params`. Ids are made of
        the name and the params, as `Experiment.add_run` does; a column `id_run` is not taken over.

        Args:
            frame: A frame of pandas or polars, an Arrow table, or the path of a file.
            name: Name of the experiment.
            params: Names of the columns that are params; all others are fields. None takes those
                of which a file says so, if `export` has written it.

        Returns:
            The experiment, in memory only until it is persisted. Its runs are completed, unless
            the table says something else. A cell without a value (None, NA, NaT) is a field that
            the run does not have; NaN is a number.

        Raises:
            InvalidInput: It is no table, or has no such column.
            CorruptData: A file holds something else than it says.

        Examples:
            >>> import pandas as pd
            >>> frame = pd.DataFrame({"lr": [0.1, 0.01], "loss": [0.5, 0.25]})
            >>> session = create_session("sqlite://")
            >>> experiment = session.import_frame(frame, "sweep", params=["lr"]).persist()
            >>> session.load("sweep").runs.df()["loss"].tolist()
            [0.5, 0.25]
        """
        from mltraq_prefect import tabular

        rows = tabular.rows_of(frame, names_of("params", params))
        experiment = self.add_experiment(name)
        for row in rows:
            run = experiment.add_run(**row.params)
            run.fields, run.ledger = Namespace(row.fields), row.ledger
        return experiment
