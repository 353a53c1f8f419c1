"""Opening a session: which database it is on."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection

from mltraq_prefect.environment import DATABASE_URL, FILES, PROVENANCE, check_variables
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.orchestration.current import inside_deployment
from mltraq_prefect.provenance.facts import Setting, setting_of
from mltraq_prefect.session import Session

_logger = logging.getLogger("mltraq_prefect")


def create_session(
    url: str | None = None,
    *,
    block: str | None = None,
    compress: Collection[str] | bool = False,
    create: bool = True,
    provenance: Setting | bool | None = None,
    files: str | os.PathLike[str] | None = None,
) -> Session:
    """Open a session on a database.

    Opening and reading create nothing: a missing SQLite file counts as an empty database.
    `Session.add_experiment` and every write create the file and the tables.

    Args:
        url: SQLAlchemy URL, such as ``sqlite:///mltraq.db`` or
            ``postgresql+psycopg://user@host/database``. If None, the environment variable
            ``MLTRAQ_DATABASE_URL`` is used. Without both the database is in memory, for a trial;
            a warning says so, and a flow run of a deployment is refused.
        block: Name of a Prefect block that holds the URL instead: that of an `ExperimentStore`, or
            type and name of a block of prefect-sqlalchemy.
        compress: Keys of fields whose arrays, frames and other binary values are compressed with
            Zstandard when they are written; or True for all fields. Reading needs no option.
        create: Whether a missing SQLite file is created on the first write; False raises instead.
        provenance: What is noted of executions: ``"on"`` is where results come from (code, program,
            machine, user), ``"anonymous"`` all but user and host, ``"off"`` nothing. If None, the
            environment variable ``MLTRAQ_PROVENANCE`` says it, or it is on.
        files: Where the contents of `Run.files` are kept: a folder, or a URL that fsspec
            understands, such as ``s3://bucket/folder``. If None, the environment variable
            ``MLTRAQ_FILES_LOCATION`` is used; without both they are kept in the database.

    Returns:
        The session. Close it, or use it in a ``with`` statement.

    Raises:
        InvalidInput: The URL cannot be used; a deployment has none; or an environment variable
            begins with ``MLTRAQ_`` and is unknown.
        StorageUnavailable: The database cannot be reached, or does not exist.
        ForeignTable: A table has one of our names, but another shape.
        NewerFormat: A later version of the package wrote the database.

    Examples:
        >>> with create_session("sqlite://") as session:
        ...     len(session.ls())
        0
    """
    check_variables()
    if url is not None and block is not None:
        raise InvalidInput("give create_session either a url or a block, not both")
    setting = setting_of(provenance, os.environ.get(PROVENANCE))
    if block is not None:
        from mltraq_prefect.orchestration.api import url_of_block

        url = url_of_block(block)
    elif url is None:
        url = os.environ.get(DATABASE_URL) or _in_memory()
    place = os.environ.get(FILES) or None if files is None else files
    return Session(url, compress=compress, create=create, provenance=setting, files=place)


def _in_memory() -> str:
    """Return the URL of a database in memory, and warn that it is one.

    Raises:
        InvalidInput: This is a flow run of a deployment: nobody would ever see its results.
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
