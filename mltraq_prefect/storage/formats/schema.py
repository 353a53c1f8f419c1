"""The fixed tables: how they are made, recognised and versioned."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from mltraq_prefect.errors import ForeignTable, NewerFormat, ReadOnlyStore, StoreError
from mltraq_prefect.storage.sql.connections import Database, DriverError, Transaction
from mltraq_prefect.storage.sql.migrations import newest
from mltraq_prefect.storage.tables import stretches
from mltraq_prefect.storage.tables.claims import (
    CLAIMS,
    CLAIMS_KEY,
    QUEUE,
    QUEUE_INDEX,
    QUEUE_INDEX_NAME,
    QUEUE_KEY,
)
from mltraq_prefect.storage.tables.executions import EXECUTIONS, EXECUTIONS_KEY
from mltraq_prefect.storage.tables.files import (
    CONTENT_COLUMNS,
    CONTENT_INDEX,
    FILES,
    FILES_KEY,
    PIECES,
    PIECES_KEY,
)
from mltraq_prefect.storage.tables.fingerprints import STEPS, STEPS_KEY
from mltraq_prefect.storage.tables.large_values import VALUES, VALUES_KEY
from mltraq_prefect.storage.tables.ledger import ID_INDEX, LEDGER, LEDGER_KEY, PARAMS_TEXT, kept
from mltraq_prefect.storage.tables.progress_view import add_progress_view
from mltraq_prefect.storage.tables.run_steps import RUN_STEPS, RUN_STEPS_KEY
from mltraq_prefect.storage.tables.series_parts import PARTS, PARTS_KEY
from mltraq_prefect.storage.tables.tagging import ANNOTATIONS
from mltraq_prefect.storage.tables.unfinished import UNFINISHED
from mltraq_prefect.storage.tables.uploads import UPLOADS, UPLOADS_KEY
from mltraq_prefect.storage.values.kinds import BINARY, DATETIME, INT, JSON, KEY, TEXT, Kind
from mltraq_prefect.version import __version__

SCHEMA_LOCK = "mltraq schema"

STATES = ("completed", "failed", "stopped", "pending")
"""States of runs, which an experiment counts in columns of these names."""

EXPERIMENTS: dict[str, Kind] = {
    "id_experiment": KEY,
    "name": TEXT,
    "table_name": KEY,
    "run_count": INT,
    **dict.fromkeys(STATES, INT),
    "run_columns": TEXT,
    "series_columns": TEXT,
    "fields": JSON,
    "residual": BINARY,
    "properties": JSON,
    "revision": INT,
    "param_columns": TEXT,
    **ANNOTATIONS,
}
PICKLES: dict[str, Kind] = {"id_experiment": KEY, "pickle": BINARY}
FORMATS: dict[str, Kind] = {"version": INT, "package": TEXT, "applied_at": DATETIME}

TABLES: dict[str, tuple[dict[str, Kind], tuple[str, ...], tuple[str, ...]]] = {
    "experiments": (EXPERIMENTS, ("id_experiment",), ("table_name",)),
    "experiment_runs": (LEDGER, LEDGER_KEY, ()),
    "experiment_run_steps": (RUN_STEPS, RUN_STEPS_KEY, ()),
    "experiment_standings": (stretches.STANDINGS, stretches.STANDINGS_KEY, ()),
    "experiment_steps": (STEPS, STEPS_KEY, ()),
    "experiment_executions": (EXECUTIONS, EXECUTIONS_KEY, ()),
    "experiment_pickles": (PICKLES, ("id_experiment",), ()),
    "experiment_values": (VALUES, VALUES_KEY, ()),
    "experiment_series": (PARTS, PARTS_KEY, ()),
    "experiment_claims": (CLAIMS, CLAIMS_KEY, ()),
    "experiment_queue": (QUEUE, QUEUE_KEY, ()),
    "experiment_files": (FILES, FILES_KEY, ()),
    "experiment_file_pieces": (PIECES, PIECES_KEY, ()),
    "experiment_uploads": (UPLOADS, UPLOADS_KEY, ()),
    "experiment_unfinished": (UNFINISHED, tuple(UNFINISHED), ()),
    "experiment_format": (FORMATS, ("version",), ()),
}
"""Columns, primary key and unique columns of each."""


INDEXES: dict[str, tuple[str, tuple[str, ...]]] = {
    ID_INDEX: ("experiment_runs", ("id_experiment", "id_run")),
    stretches.INDEX_NAME: ("experiment_standings", stretches.STANDING_INDEX),
    QUEUE_INDEX_NAME: ("experiment_queue", QUEUE_INDEX),
    CONTENT_INDEX: ("experiment_files", CONTENT_COLUMNS),
}
"""Indexes in addition to keys: table and columns, by a name that no table has."""

OF_EXPERIMENTS = tuple(name for name, (columns, *_) in TABLES.items() if "id_experiment" in columns)
"""Tables whose rows belong to an experiment, and go with it."""

OF_RUNS = tuple(name for name in OF_EXPERIMENTS if "id_run" in TABLES[name][0])
"""Tables whose rows belong to a run, and go with it."""

LEDGERS = ("experiment_runs", "experiment_run_steps")
"""What is known of runs, and of runs in steps: short rows, each written several times."""

_SHORT_ROWS = (*LEDGERS, "experiment_standings")


def create_table(
    transaction: Transaction,
    table: str,
    columns: Mapping[str, Kind],
    key: Sequence[str],
    unique: Sequence[str] = (),
    options: str = "",
    *,
    late_key: bool = False,
    key_name: str = "",
) -> None:
    """Create a table with a primary key, and other columns whose values are unique.

    Args:
        transaction: Where.
        table: Its name.
        columns: Its columns.
        key: The columns of the primary key.
        unique: Other columns whose values are unique.
        options: What ends the statement.
        late_key: Whether the key is made later, once there are rows.
        key_name: Name of the key; the database's choice if empty.
    """
    dialect, quote = transaction.dialect, transaction.quote
    parts = [
        f"{quote(name)} {dialect.types[kind].sql}{' NOT NULL' if name in key else ''}"
        for name, kind in columns.items()
    ]
    if not late_key:
        named = f"CONSTRAINT {quote(key_name)} " if key_name else ""
        parts.append(f"{named}PRIMARY KEY ({', '.join(map(quote, key))})")
    parts += [f"UNIQUE ({quote(name)})" for name in unique]
    sql = f"CREATE TABLE {quote(table)} ({', '.join(parts)}) {dialect.table_options} {options}"
    transaction.connection.exec_driver_sql(sql)


def add_tables(transaction: Transaction) -> None:
    """Create the fixed tables that are missing, without their indexes."""
    present = transaction.relations(tuple(TABLES))
    for table in TABLES:
        if table not in present:
            create_fixed(transaction, table, table)


def create_fixed(transaction: Transaction, table: str, name: str) -> None:
    """Create a fixed table, perhaps under another name."""
    columns, key, unique = TABLES[table]
    dialect = transaction.dialect
    options = dialect.ledger_options if table in _SHORT_ROWS else ""
    if table == "experiment_runs":
        options = f"{options} {dialect.rewritten_options}"
    kinds = kept(columns, transaction.dialect)
    create_table(transaction, name, kinds, key, unique, options)
    add_document(transaction, name, columns)


def add_document(transaction: Transaction, table: str, columns: Mapping[str, Kind]) -> None:
    """Add the column in which SQL sees the params of runs, where it is not that of their text."""
    type_ = transaction.dialect.document
    if PARAMS_TEXT in kept(columns, transaction.dialect) and type_:
        transaction.run(
            f"ALTER TABLE {table} ADD COLUMN params {type_} "
            f"GENERATED ALWAYS AS (CAST({PARAMS_TEXT} AS {type_})) STORED"
        )


def add_indexes(transaction: Transaction) -> None:
    """Create the indexes of the fixed tables that are missing."""
    dialect, quote = transaction.dialect, transaction.quote
    present = {
        table: dialect.indexes(transaction.connection, table)
        for table in dict.fromkeys(table for table, _ in INDEXES.values())
    }
    for name, (table, columns) in INDEXES.items():
        if name not in present[table]:
            names = ", ".join(map(quote, columns))
            transaction.run(f"CREATE INDEX {quote(name)} ON {quote(table)} ({names})")


def add_columns(transaction: Transaction, table: str, columns: Mapping[str, Kind]) -> None:
    """Add the columns that a table does not have yet."""
    present, quote = transaction.columns(table), transaction.quote
    for name, kind in columns.items():
        if name not in present:
            sql = f"ALTER TABLE {quote(table)} ADD COLUMN {quote(name)}"
            transaction.run(f"{sql} {transaction.dialect.types[kind].sql}")


def exists(database: Database) -> bool:
    """Return whether the database has our tables; bring those of an older format to the present.

    Raises:
        ForeignTable: It has a table of our name, but not of our shape.
        NewerFormat: A later version of the package made them.
        ReadOnlyStore: Their format is too old, and they cannot be changed.
    """
    if database.is_missing():
        return False
    with database.reading() as transaction:
        present_tables = _present_tables(transaction)
        version = _version(transaction, present_tables, database)
        if version is None or version == newest(database.migrations):
            _check_shapes(present_tables, database.url)
            return version is not None and set(present_tables) == set(TABLES)
    _migrate(database, version)
    return True


def create(database: Database) -> None:
    """Create the tables that are missing; another process may do the same at the same time."""
    with database.writing(SCHEMA_LOCK) as transaction:
        present_tables = _present_tables(transaction)
        _check_shapes(present_tables, database.url)
        add_tables(transaction)
        add_indexes(transaction)
        add_progress_view(transaction)
        if not _recorded(transaction):
            _record(transaction, newest(database.migrations))


def version(transaction: Transaction) -> int | None:
    """Return the format of our tables; None if there are none."""
    if not transaction.has_table("experiment_format"):
        return None
    recorded = _recorded(transaction)
    return recorded[0] if recorded else None


def check_version(transaction: Transaction, database: Database) -> None:
    """Refuse to write tables that a later version of the package has migrated meanwhile.

    Raises:
        NewerFormat: It has.
    """
    version, package = _recorded(transaction) or (0, "")
    if version > newest(database.migrations):
        raise NewerFormat(
            f"the database {database.url} has format {version}, written by mltraq_prefect "
            f"{package}; this is mltraq_prefect {__version__}, which reads formats up to "
            f"{newest(database.migrations)}: upgrade it"
        )


def _present_tables(transaction: Transaction) -> dict[str, set[str]]:
    names = transaction.relations(tuple(TABLES))
    return {table: transaction.columns(table) for table in TABLES if table in names}


def _check_shapes(present_tables: dict[str, set[str]], url: str) -> None:
    for table, names in present_tables.items():
        missing = set(TABLES[table][0]) - names
        if missing:
            raise ForeignTable(
                f"the database {url} has a table {table!r} that is not from mltraq_prefect: it "
                f"lacks the columns {', '.join(sorted(missing))}; use another database or schema"
            )


def _version(
    transaction: Transaction, present_tables: dict[str, set[str]], database: Database
) -> int | None:
    """Return the format of the tables; None if there are none, or others are about to make them."""
    if not set(FORMATS) <= present_tables.get("experiment_format", set()):
        return None
    check_version(transaction, database)
    recorded = _recorded(transaction)
    return recorded[0] if recorded else None


def _recorded(transaction: Transaction) -> tuple[int, str] | None:
    rows = transaction.rows(
        "SELECT version, package FROM experiment_format ORDER BY version DESC LIMIT 1"
    )
    return (int(rows[0][0]), rows[0][1]) if rows else None


def _record(transaction: Transaction, version: int) -> None:
    transaction.run(
        "INSERT INTO experiment_format (version, package, applied_at) VALUES (?, ?, ?)",
        (version, __version__, utc_now().isoformat(" ")),
    )


def _migrate(database: Database, version: int) -> None:
    """Bring the tables to the newest format; another process may do the same at the same time."""
    wanted = newest(database.migrations)
    try:
        while _next(database):
            pass
    except DriverError as error:
        if error.trouble == "other":
            raise StoreError(
                f"the database {database.url} cannot be brought from format {version} to {wanted}: "
                f"{error}; what was not changed completely is as it was"
            ) from None
        if error.trouble not in ("read-only", "forbidden"):
            raise
        if not all(database.migrations[old].is_optional for old in range(version, wanted)):
            raise ReadOnlyStore(
                f"the database {database.url} has format {version}, which this version reads only "
                f"after bringing it to format {wanted}, and it cannot be written: {error}; open it "
                "once where it can be"
            ) from None


def _next(database: Database) -> bool:
    """Apply one migration and record it; return False if there is none left."""
    with database.writing(SCHEMA_LOCK) as transaction:
        version, _ = _recorded(transaction) or (0, "")
        migration = database.migrations.get(version)
        if migration is None:
            return False
        migration.apply(transaction)
        _record(transaction, version + 1)
    return True


def utc_now() -> datetime.datetime:
    """Return the time as the tables keep it: UTC, naive."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
