"""Whether a database is sound: by its own checks, and by what belongs together in our tables."""

import sqlalchemy as sa

from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.schema import OF_EXPERIMENTS, TABLES
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.tables import experiments_table, standings, views
from mltraq_prefect.storage.values.names import series_name, view_name


def assert_sound(url, *, leftovers=False, migrations=MIGRATIONS):
    """Fail unless a database is sound, and holds whole experiments and nothing else.

    Args:
        url: Its URL.
        migrations: What leads to its format.
        leftovers: Whether tables may be there that a killed writer had no time to drop.
    """
    store = Store(url, migrations=migrations)
    store.check()
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        _CHECKS[engine.dialect.name](connection)
        present = set(sa.inspect(connection).get_table_names())
        known = _experiments_in(connection, "experiments")
        for part in OF_EXPERIMENTS:
            assert _experiments_in(connection, part) <= known, f"orphans in {part}"
        _assert_contents(connection)
    listed = store.ls()
    for row in listed:
        assert_whole(store, row, leftovers=leftovers)
    sql = "SELECT name FROM experiments WHERE series_columns IS NOT NULL"
    series = {series_name(name) for (name,) in store.query(sql)[1]}
    store.close()
    tables = {row["table_name"] for row in listed} | series
    assert tables | set(TABLES) <= present
    if not leftovers:
        assert present == tables | set(TABLES)


def assert_whole(store, row, *, leftovers=False):
    """Fail unless the table of an experiment, its ledger and the index say the same."""
    (ids,) = zip(*store.query(f"SELECT id_run FROM {row['table_name']}")[1], strict=True) or ((),)
    assert_viewed(store, row, leftovers=leftovers)
    sql = "SELECT id_run, position FROM experiment_runs WHERE id_experiment = :id"
    ledger = store.query(sql, {"id": row["id_experiment"]})[1]
    assert len(ids) == len(ledger) == row["runs"]
    assert set(ids) == {id_run for id_run, _ in ledger}
    assert len({position for _, position in ledger}) == row["runs"]
    with store._database.reading() as transaction:
        assert standings.count_wrong(transaction, row["id_experiment"]) == 0


def assert_viewed(store, row, *, leftovers=False):
    """Fail unless the view of an experiment can be read, and has what it should have.

    A killed writer may have left columns that nobody needs; if it has not given the table of a new
    experiment its name, it has not made its view.
    """
    view = view_name(row["name"])
    with store._database.reading() as transaction:
        entry = experiments_table.find(transaction, row["name"])
        is_missing = not transaction.has_table(view)
    if not store._database.dialect.has_views or (is_missing and entry.is_staged and leftovers):
        return
    names, rows = store.query(f"SELECT * FROM {view}")
    if entry.is_staged and leftovers:
        return
    expected = {own.name for own in views.columns(entry, store._database.dialect)}
    assert set(names) == expected or (leftovers and set(names) > expected)
    assert len(rows) == row["runs"]


def _assert_contents(connection):
    """Fail unless each file has its content, and each content a file."""
    files = connection.exec_driver_sql(
        "SELECT DISTINCT id_experiment, sha256, size FROM experiment_files WHERE place IS NULL"
    ).all()
    pieces = connection.exec_driver_sql(
        "SELECT id_experiment, sha256, sum(length(data)) FROM experiment_file_pieces "
        "GROUP BY id_experiment, sha256"
    ).all()
    assert {tuple(row) for row in files} == {(*row[:2], int(row[2])) for row in pieces}


def _experiments_in(connection, table):
    rows = connection.exec_driver_sql(f"SELECT DISTINCT id_experiment FROM {table}")
    return {id_experiment for (id_experiment,) in rows}


def _check_sqlite(connection):
    assert connection.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]


def _check_mysql(connection):
    for table in sa.inspect(connection).get_table_names():
        for *_, kind, text in connection.exec_driver_sql(f"CHECK TABLE `{table}` EXTENDED"):
            assert (kind, text) == ("status", "OK"), (table, text)


def _check_postgresql(connection):
    """Verify tables and indexes by amcheck, where the server has it and lets us."""
    sql = (
        "SELECT rolsuper AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck') "
        "FROM pg_roles WHERE rolname = current_user"
    )
    if connection.exec_driver_sql(sql).scalar_one():
        with connection.begin_nested() as checked:
            _amcheck(connection)
            checked.rollback()  # the extension was for this check alone


def _amcheck(connection):
    connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS amcheck")
    sql = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'amcheck'"
    schema = connection.exec_driver_sql(sql).scalar_one()
    mine = "relnamespace = current_schema()::regnamespace"
    broken = connection.exec_driver_sql(
        f"SELECT v.* FROM pg_class, {schema}.verify_heapam(oid) AS v WHERE {mine} AND relkind = 'r'"
    )
    assert broken.all() == []
    connection.exec_driver_sql(
        f"SELECT {schema}.bt_index_check(pg_class.oid, true) FROM pg_class "
        f"JOIN pg_am ON pg_am.oid = relam WHERE {mine} AND relkind = 'i' AND amname = 'btree'"
    )


_CHECKS = {"sqlite": _check_sqlite, "postgresql": _check_postgresql}
_CHECKS |= dict.fromkeys(("mysql", "mariadb"), _check_mysql)
