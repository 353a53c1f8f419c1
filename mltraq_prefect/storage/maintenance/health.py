"""What a database is like, found out without changing anything in it."""

from __future__ import annotations

from dataclasses import dataclass

from mltraq_prefect.errors import MltraqError
from mltraq_prefect.storage.formats import schema
from mltraq_prefect.storage.sql.connections import Database
from mltraq_prefect.storage.sql.migrations import newest


@dataclass(slots=True)
class Health:
    """What a database is like.

    Attributes:
        url: Its URL, without secrets.
        kind: The kind of database.
        is_missing: Whether it is a file that is not there.
        trouble: Why it cannot be read; empty if it can.
        format: The version of its tables; None if there are none.
        newest: The version that this package writes.
        experiments: How many experiments there are.
        read_only: Why it cannot be written; empty if it can.
    """

    url: str
    kind: str
    newest: int
    is_missing: bool = False
    trouble: str = ""
    format: int | None = None
    experiments: int = 0
    read_only: str = ""


def examine(database: Database) -> Health:
    """Find out what a database is like; tables of an older format stay as they are."""
    found = Health(database.url, database.dialect.name, newest(database.migrations))
    if database.is_missing():
        found.is_missing = True
        return found
    try:
        _read(database, found)
        if found.format is None:
            schema.exists(database)  # it refuses tables of others that have our names
    except MltraqError as error:
        found.trouble = str(error)
        return found
    if found.format is not None:
        found.read_only = _try_to_write(database)
    return found


def _read(database: Database, found: Health) -> None:
    with database.reading() as transaction:
        found.format = schema.version(transaction)
        if found.format is not None:
            ((found.experiments,),) = transaction.rows("SELECT count(*) FROM experiments")


def _try_to_write(database: Database) -> str:
    """Return why writing is refused."""
    try:
        database.retry(lambda: check_writable(database))
    except MltraqError as error:
        return str(error)
    return ""


def check_writable(database: Database) -> None:
    """Write nothing as rows of an experiment are written: delete what is not there.

    Raises:
        DriverError: The database refuses.
    """
    with database.writing("doctor") as transaction:
        transaction.run("DELETE FROM experiment_pickles WHERE id_experiment = ?", ("",))
