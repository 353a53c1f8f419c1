"""A session: one database and the experiments in it."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.checkpoints.signing import signing_key
from mltraq_prefect.codecs import buffers
from mltraq_prefect.environment import DATABASE_URL, check_variables
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.experiment import Experiment, IfExists
from mltraq_prefect.model.hints import no_attribute
from mltraq_prefect.orchestration.current import inside_deployment
from mltraq_prefect.requirements import check_installed
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.frames import query_frame
from mltraq_prefect.storage.pending import Pending
from mltraq_prefect.storage.pickles import unseal
from mltraq_prefect.storage.records import LISTED, new_record

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.execution.steps import StepFunction

_logger = logging.getLogger("mltraq_prefect")


def create_session(
    url: str | None = None,
    *,
    block: str | None = None,
    compress: Collection[str] | bool = False,
    create: bool = True,
) -> Session:
    """Open a session on a database.

    Opening and reading create nothing: a SQLite file that is not there is an empty database.
    `Session.add_experiment` and what persists make file and tables.

    Args:
        url: SQLAlchemy URL, such as ``sqlite:///mltraq.db`` or
            ``postgresql+psycopg://user@host/database``. If None, the environment variable
            ``MLTRAQ_DATABASE_URL``. Without both the database is in memory, for a trial: a line in
            the log says so, and a flow run of a deployment is refused.
        block: Name of a Prefect `ExperimentStore` block that holds the URL instead.
        compress: Keys of fields whose arrays, frames and other binary values are compressed with
            Zstandard when they are written, or whether all are. Reading needs no option.
        create: If False, a SQLite file that is not there is an error.

    Raises:
        InvalidInput: The URL cannot be used; there is none, in a deployment; or a variable of the
            environment begins with ``MLTRAQ_`` and is not known.
        StorageUnavailable: The database cannot be reached, or is not there.
        ForeignTable: It has a table of our name that is not ours.
        NewerFormat: A later version of the package wrote it.
    """
    check_variables()
    if url is not None and block is not None:
        raise InvalidInput("give create_session either a url or a block, not both")
    if isinstance(compress, str):
        raise InvalidInput(f"compress is {compress!r}; give a list of field keys, or True")
    if block is not None:
        from mltraq_prefect.orchestration import url_of_block

        url = url_of_block(block)
    elif url is None:
        url = os.environ.get(DATABASE_URL) or _in_memory()
    return Session(url, compress=compress, create=create)


def _in_memory() -> str:
    """Return the URL of a database in memory, and say that it is one.

    Raises:
        InvalidInput: What a flow run of a deployment stores there, nobody would ever see.
    """
    if inside_deployment():
        raise InvalidInput(
            "this flow run of a deployment has no database, and its results would be lost: give "
            f"create_session a block or a URL, or set {DATABASE_URL} where the worker runs"
        )
    _logger.warning(
        "This session has no database: it is in memory, and gone when the program ends. To keep "
        "it, give create_session a URL such as sqlite:///mltraq.db, or set %s.",
        DATABASE_URL,
    )
    return "sqlite://"


_INSTEAD = {
    **dict.fromkeys(("create_experiment", "new_experiment", "experiment"), "add_experiment(name)"),
    **dict.fromkeys(("get", "get_experiment", "open", "reload", "read"), "load(name)"),
    **dict.fromkeys(("list", "experiments", "list_experiments", "search"), "ls()"),
    **dict.fromkeys(("save", "store", "write"), "experiment.persist()"),
    **dict.fromkeys(("sql", "execute", "read_sql"), "query(sql)"),
    **dict.fromkeys(("delete", "drop", "remove"), "load(name).delete()"),
}
"""What other names for our methods are taken to mean."""


class Session:
    """A database and the experiments in it.

    A session may be used by several threads. It owns its connections: `close` it, or use it as a
    context manager, where that matters.
    """

    def __init__(
        self, url: str, *, compress: Collection[str] | bool = False, create: bool = True
    ) -> None:
        for library in ("numpy", "pandas", "pyarrow", "sqlalchemy"):
            check_installed(library)
        self._store = Store(url, compress=compress)
        self._store.open(create=create)

    def __repr__(self) -> str:
        return f"Session({self._store.url!r})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say what to write instead of an attribute that there is not."""
            raise no_attribute(self, name, _INSTEAD, dir(type(self)))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def add_experiment(self, /, name: str | None = None, **fields: Any) -> Experiment:
        """Define an experiment; the database does not see it before it is persisted.

        The fixed tables are made now if they are missing: a database that cannot be written is told
        of before an experiment is executed.

        Args:
            name: Any non-empty text; made up if None.
            **fields: Fields of the experiment as a whole.

        Raises:
            InvalidName: The name is no text, or empty.
            StoreError: The database cannot be written, or reached.
        """
        self._store.check()
        name = f"experiment_{uuid.uuid4().hex[:12]}" if name is None else name
        return Experiment(self._store, new_record(name, fields))

    def load(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        pending: str | StepFunction | None = None,
        failed: bool = False,
        pickle: bool = False,
    ) -> Experiment:
        """Read an experiment from the database.

        Args:
            name: Its name.
            columns: Only these fields of its runs are read; all if None.
            pending: Only runs on which this step can be tried: that have not completed it, in which
                no other step has failed or is due, and that have not failed in it. Given the step
                itself and not its name, runs are tried again that failed in other code of it.
            failed: Whether to read runs as well that have failed in the step `pending`.
            pickle: Read the signed pickle that ``persist(store_pickle=True)`` stored instead of
                the tables: with locals, and as it was then.

        Raises:
            ExperimentNotFound: The database has no experiment of this name, or, with `pickle`, no
                pickle of it.
            FieldNotFound: No run has one of the `columns`.
            InvalidInput: `pending` is nearly the name of another step.
            CorruptData: Something in the tables is not what was written.
            UntrustedPickle: The pickle was not signed with this user's key.
        """
        chosen = as_pending(pending, failed)
        if pickle and (columns is not None or pending is not None):
            raise InvalidInput("a pickle is loaded whole: leave out columns and pending")
        if pickle:
            sealed, id_experiment = self._store.read_pickle(name)
            record = unseal(sealed, signing_key(), (name, id_experiment))
        else:
            record = self._store.read(name, columns=columns, pending=chosen)
        return Experiment(self._store, record)

    def persist(self, experiment: Experiment, if_exists: IfExists = "fail") -> Experiment:
        """Write an experiment of any session to this session's database.

        Raises:
            RunsFailed: As `Experiment.persist` does, when everything is written.

        Returns:
            The experiment as this session has it.
        """
        if if_exists == "merge":
            experiment.check_identities()
        record = experiment.record()
        record.snapshot = record.revision = None
        written = Experiment(self._store, record).persist(if_exists)
        experiment.tell_kept_failures()
        return written

    def ls(
        self, *, pending: str | StepFunction | None = None, failed: bool = False
    ) -> pd.DataFrame:
        """List the experiments of the database: runs by state, tables, sizes, times.

        `bytes` are those of an experiment's table and of the large values beside it. MariaDB
        estimates them, and some builds of SQLite do not tell.

        Args:
            pending: Only those with runs that `load` gives with the same `pending`.
            failed: Whether runs count as well that have failed in the step `pending`.
        """
        import pandas as pd

        rows = self._store.ls(pending=as_pending(pending, failed))
        return pd.DataFrame(rows, columns=list(LISTED))

    def query(self, sql: str, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Return the rows of an SQL statement; ``:x`` in it stands for the param `x`."""
        return query_frame(self._store, sql, params, {})


def as_pending(step: str | StepFunction | None, failed: bool) -> Pending | None:
    """Return which runs are meant by the step that they have yet to complete.

    Raises:
        InvalidInput: The step is neither a name nor a function of one run; or there is none.
    """
    if not isinstance(failed, bool):
        raise InvalidInput(f"failed is {failed!r}; use True or False")
    if step is None:
        if failed:
            raise InvalidInput("failed=True needs the step in which the runs failed: pending=...")
        return None
    if isinstance(step, str):
        return Pending(step, failed, is_name=True)
    if not callable(step):
        raise InvalidInput(f"pending is {step!r}; give a step, a function of one run, or its name")
    from mltraq_prefect.execution import as_steps, has_other_code

    (prepared,) = as_steps(step, {}, 0, buffers=buffers)
    now = prepared.fingerprint

    def is_changed(before: str) -> bool:
        return has_other_code(before, now)

    return Pending(prepared.name, failed, is_changed=is_changed)
