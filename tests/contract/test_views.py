"""The view of an experiment: typed params, fields and ledger of a run in one row."""

import contextlib
import datetime as dt
import decimal
import fractions
import shutil
import uuid

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.tables import experiments_table, views
from tests.contract.assets import FOLDER
from tests.contract.records import backend_of, make_record, make_run
from tests.contract.test_names import many_names

MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)
BERLIN = dt.timezone(dt.timedelta(hours=1))


def shown(store, name="coin toss"):
    """Return the columns of a view, and its rows in the order of the runs."""
    entry = entry_of(store, name)
    (first, *names), rows = store.query(
        f"SELECT v.* FROM {views.view_name(name)} AS v JOIN experiment_runs AS r "
        f"ON r.id_run = v.id_run AND r.id_experiment = '{entry.id_experiment}' ORDER BY r.position"
    )
    assert first == "id_run"
    return names, [natural(row[1:]) for row in rows]


def natural(row):
    """Return cells as Python has them, whatever the driver makes of moments and booleans."""
    return tuple(str(cell) if isinstance(cell, (dt.date, dt.time)) else cell for cell in row)


def entry_of(store, name="coin toss"):
    with store._database.reading() as transaction:
        return experiments_table.find(transaction, name)


def with_params(*values, **fields):
    """Return a record with a run for each value of its param x; `...` is no value."""
    runs = [make_run(i, {} if x is ... else {"x": x}, **fields) for i, x in enumerate(values)]
    return make_record(runs=runs)


KINDS = {
    "flag": (True, True),
    "count": (-(2**63), -(2**63)),
    "most": (2**63 - 1, 2**63 - 1),
    "huge": (2**70, 2.0**70),
    "float": (0.1 + 0.2, 0.1 + 0.2),
    "large": (1e16, 1e16),
    "tiny": (5e-324, 5e-324),
    "text": ("naïve 'quoted' \\ \n", "naïve 'quoted' \\ \n"),
    "moment": (MOMENT, str(MOMENT)),
    "aware": (MOMENT.replace(tzinfo=BERLIN), str(MOMENT - dt.timedelta(hours=1))),
    "stamp": (pd.Timestamp("2026-01-01 00:00:00.000000001"), "2026-01-01 00:00:00"),
    "day": (dt.date(2026, 1, 2), "2026-01-02"),
    "time": (dt.time(1, 2, 3), "01:02:03"),
    "uuid": (uuid.UUID(int=7), str(uuid.UUID(int=7))),
    "decimal": (decimal.Decimal("1.10"), 1.1),
    "third": (fractions.Fraction(1, 3), 1 / 3),
    "span": (dt.timedelta(seconds=1.5), 1.5),
    "single": (np.float32(0.1), float(np.float32(0.1))),
    "none": (None, None),
    "NaT": (pd.NaT, None),
    "NA": (pd.NA, None),
    "nan": (float("nan"), None),
    "function": (shutil.copy, "shutil.copy"),
    "set": ({1}, "{1}"),
}


def test_each_kind_has_a_column_of_its_type(store):
    params = {key: value for key, (value, _) in KINDS.items()}
    run = make_run(0, {**params, "tree": {"a": [1, 2.5]}}, acc=0.5)
    store.write(make_record(runs=[run]), "fail")
    names, [row] = shown(store)
    ledger = ["state", "duration_s", "started_at", "error"]
    assert names == [*KINDS, "tree", "acc", *ledger]
    found = dict(zip(names, row, strict=True))
    for key, (_, cell) in KINDS.items():
        assert found[key] == cell, key
        wanted = int if type(cell) is bool and found[key] is not True else type(cell)
        assert type(found[key]) is wanted, key
    assert found["tree"].replace(" ", "") == '{"a":[1,2.5]}'
    assert [found[name] for name in ledger[:2]] == ["completed", 0.1 + 0.2]
    assert found["started_at"].startswith("2026-01-02 03:04:05.678901")
    _, [[text]] = store.query("SELECT params FROM experiment_runs")
    assert '"NaT":null' in text.replace(" ", "")


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([1, 0.5], [1.0, 0.5]),
        ([True, 2], [1, 2]),
        ([1, "a", "b"], [None, "a", "b"]),
        (["a", 1, None], ["a", None, None]),
        ([dt.date(2026, 1, 2), "a"], ["2026-01-02", "a"]),
        ([dt.date(2026, 1, 2), MOMENT], ["2026-01-02", str(MOMENT)]),
        ([[1], "a", [2]], ["[1]", None, "[2]"]),
        ([..., 1], [None, 1]),
        ([None, None], [None, None]),
    ],
)
def test_values_of_several_kinds(store, values, cells):
    """The same, whether they come at once or one after the other, but for which kind is first."""
    record = with_params(*values)
    store.write(record, "fail")
    assert [row[0] for row in shown(store)[1]] == cells
    store.write(with_params(values[0]), "replace")
    assert len(shown(store)[1]) == 1
    store.write(record, "merge")
    names, rows = shown(store)
    if type(values[0]) is not int or type(values[1]) is not str:
        assert [row[names.index("x")] for row in rows] == cells


def test_names_that_meet(store):
    params = {"acc": 1, "ACC": 2, "state": 3, "a b": 4, "a_b": 5, "id_run": 6, "val/x": 7, "f": 8}
    fields = {"acc": 10, "param_f": 11, "F": 12, "run_error": 13, "error": 14, "val x": 15}
    store.write(make_record(runs=[make_run(0, params, **fields)]), "fail")
    names, [row] = shown(store)
    lower = [name.lower() for name in names]
    assert len(set(lower)) == len(names)
    found = dict(zip(names, row, strict=True))
    expected = {"param_acc": 1, "state": 3, "a_b": 4, "param_a_b": 5, "param_id_run": 6}
    expected |= {
        "param_val_x": 7,
        "acc": 10,
        "param_f": 11,
        "F": 12,
        "run_error": 13,
        "error": 14,
        "val_x": 15,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["run_state"] == "completed"
    hashed = {name.split("_x")[0]: found[name] for name in names if name not in expected}
    assert (hashed["ACC"], hashed["f"], hashed["error"]) == (2, 8, None)


def test_hostile_keys_of_params(store):
    keys = many_names("params")[::3]
    params = {key: (number, f"text {number}")[number % 2] for number, key in enumerate(keys)}
    store.write(
        make_record("naïve; DROP", runs=[make_run(0, params, **{keys[0]: "field"})]), "fail"
    )
    names, [row] = shown(store, "naïve; DROP")
    assert list(row[: len(keys)]) == list(params.values())
    assert len({name.lower() for name in names}) == len(names)
    columns = views.columns(entry_of(store, "naïve; DROP"), store._database.dialect)
    assert [own.name for own in columns[1:]] == names
    assert [own.key for own in columns if own.source == "param"] == keys


def test_query_restores_what_is_selected_from_it(shared_url):
    """Also arrays, which are beside their rows on SQLite."""
    with mltraq.create_session(shared_url) as session:
        experiment = session.add_experiment("sales")
        experiment.add_runs(flag=[True], day=[dt.date(2026, 1, 2)])
        experiment.runs.first().fields.update(done=False, big=np.arange(5000))
        experiment.persist()
        sql = "SELECT flag, day AS d, done, big FROM v_sales"
        [(flag, day, done, big)] = session.query(sql, decode=True).itertuples(index=False)
        assert (flag, day, done) == (True, dt.date(2026, 1, 2), False)
        assert big.tolist() == [*range(5000)]


def test_more_columns_than_a_view_can_have(store):
    params = {f"p{number}": number for number in range(1000)}
    fields = {f"f{number}": True for number in range(1000)}
    store.write(make_record(runs=[make_run(0, params, **fields)]), "fail")
    names, [row] = shown(store)
    most = store._database.dialect.max_columns
    placed = sum(column.name is not None for column in entry_of(store).layout.values())
    assert 1 + len(names) == min(most, 1 + 1000 + placed + 4)
    assert (row[999], names[-1]) == (999, "error")


# -- kept right ------------------------------------------------------------------------------------


@contextlib.contextmanager
def statements():
    """Yield the statements that define something, as they come."""
    seen = []

    def note(_connection, _cursor, statement, *_):
        if " VIEW " in statement or statement.startswith("ALTER"):
            seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_it_follows_every_write(store):
    ledger = ["state", "duration_s", "started_at", "error"]
    store.write(with_params(1, 2, y=1), "fail")
    with statements() as seen:
        store.write(with_params(1, 2, 3, y=1), "merge")
        store.write(with_params(1, 5, y=2), "replace")
        store.write(with_params(1, 5, y=None), "merge")
    assert seen == []
    store.write(with_params(1, y=0.5), "merge")
    assert [row[:2] for row in shown(store)[1]] == [(1, 0.5), (5, None)]
    store.write(make_record(runs=[make_run(9, {"x": 0.5, "new": "a"}, z="b")]), "merge")
    names, rows = shown(store)
    assert names == ["x", "new", "y", "z", *ledger]
    assert rows[-1][:4] == (0.5, "a", None, "b")
    store.write(make_record(runs=[make_run(9, {"x": "text"}, z=1, w=2)]), "replace")
    names, rows = shown(store)
    assert (names, rows[0][:3]) == (["x", "z", "w", *ledger], ("text", 1, 2))
    store.delete("coin toss")
    view = views.view_name("coin toss")
    with store._database.reading() as transaction:
        assert not transaction.has_table(view)
    store.write(with_params(1), "fail")
    assert shown(store)[0] == ["x", *ledger]


def test_what_has_its_name_is_left_alone(store, url):
    if url == "sqlite://":
        return
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE VIEW v_sales AS SELECT 5 AS a")
    with pytest.raises(mltraq.errors.ForeignTable, match=r"'sales' .* table or view v_sales"):
        store.write(make_record("sales", runs=[make_run(0)]), "fail")
    assert store.query("SELECT a FROM v_sales")[1] == [(5,)]
    assert store.ls() == []


def test_databases_of_older_formats_get_them(shared_url, tmp_path, caplog):
    """Also those of servers: a database is brought back to format 2 by SQL."""
    store = Store(shared_url)
    for name in ("coin toss", "sales"):
        store.write(
            make_record(name, runs=[make_run(0, {"x": 1, "d": dt.date(2026, 1, 2)})]), "fail"
        )
    store.close()
    engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for sql in _to_format_2(backend_of(store)):
            connection.exec_driver_sql(sql)
    store = Store(shared_url)
    store.check()
    assert shown(store)[1] == [(1, "2026-01-02", "completed", 0.1 + 0.2, *shown(store)[1][0][4:])]
    assert store.query("SELECT * FROM v_sales")[1] == [(5,)]
    assert "'sales' has no view: v_sales is there, and not from mltraq_prefect" in caplog.text
    assert store.query("SELECT * FROM experiment_unfinished")[1] == []
    store.write(make_record("sales", runs=[make_run(1, {"x": 2})]), "merge")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP VIEW v_sales")
    store.write(make_record("sales", runs=[make_run(2, {"x": 3})]), "merge")
    assert [row[0] for row in shown(store, "sales")[1]] == [1, 2, 3]
    store.close()


@pytest.mark.parametrize("shared_url", ["postgresql"], indirect=True)
def test_a_view_that_keeps_a_database_from_being_migrated_is_named(shared_url):
    store = Store(shared_url)
    for name in ("coin toss", "sales"):
        store.write(make_record(name, runs=[make_run(0, {"x": 1})]), "fail")
    store.close()
    engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        for sql in (
            *_to_format_2("postgresql"),
            "CREATE VIEW best AS SELECT params FROM experiment_runs",
        ):
            connection.exec_driver_sql(sql)
    store = Store(shared_url)
    with pytest.raises(mltraq.StoreError, match=r"not brought to format 3, .* used by view .*best"):
        store.check()
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP VIEW best")
    store.check()
    assert shown(store)[1][0][0] == 1
    store.close()


def _to_format_2(backend):
    yield f"DROP VIEW {views.view_name('coin toss')}"
    yield "DROP VIEW v_sales"
    yield "CREATE VIEW v_sales AS SELECT 5 AS a"
    yield "ALTER TABLE experiments DROP COLUMN param_columns"
    remove = {"sqlite": "json_remove(properties, '$.view')"}.get(
        backend, "JSON_REMOVE(properties, '$.view')"
    )
    if backend == "postgresql":
        remove = "(properties::jsonb - 'view')::json"
        yield "ALTER TABLE experiment_runs DROP COLUMN params"
        yield "ALTER TABLE experiment_runs RENAME COLUMN params_text TO params"
        yield "ALTER TABLE experiment_runs ALTER COLUMN params TYPE JSON USING params::json"
    yield f"UPDATE experiments SET properties = {remove}"
    yield "UPDATE experiment_format SET version = 2"


def test_an_asset_of_format_1_gets_one(tmp_path):
    for version in range(1, min(3, len(MIGRATIONS) + 1)):
        shutil.copy(FOLDER / f"format-{version}.db", tmp_path / "old.db")
        store = Store(f"sqlite:///{tmp_path}/old.db")
        store.check()
        names, rows = shown(store)
        assert names[:3] == ["N", "pair", "none"]
        assert [row[:2] for row in rows] == [(1, "[1,2]"), (2, "[3,4]")]
        store.close()
