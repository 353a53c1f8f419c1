"""What is not ours is neither dropped nor changed; names of ours meet no others; queries read."""

import contextlib
import functools

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.values import names
from tests import servers
from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.processes import Worker
from tests.contract.records import assert_same_runs, make_record, make_run


@contextlib.contextmanager
def administered(url):
    with engine_of(url).begin() as connection:
        yield connection


@functools.lru_cache(maxsize=1)
def engine_of(url):
    """Return an engine that asks a server once what it is, and has no connection open."""
    return sa.create_engine(url, poolclass=sa.pool.NullPool)


def change(url, *statements):
    with administered(url) as connection:
        for sql in statements:
            connection.exec_driver_sql(sql)


def rows(url, sql):
    with administered(url) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


@pytest.fixture
def session(shared_url):
    with mltraq.create_session(shared_url) as opened:
        yield opened


def define(session, name, value=1, n=3, key="x"):
    experiment = session.add_experiment(name).add_runs(i=range(n))
    for run in experiment.runs.values():
        run.fields[key] = value
    return experiment


# -- tables that are not ours ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
@pytest.mark.parametrize("mode", ["fail", "replace", "merge"])
def test_a_table_in_the_way_is_left_alone(session, shared_url, mode, kind):
    made = "TABLE e_sales (a INTEGER)" if kind == "TABLE" else "VIEW e_sales AS SELECT 5 AS a"
    change(shared_url, f"CREATE {made}")
    if kind == "TABLE":
        change(shared_url, "INSERT INTO e_sales VALUES (5)")
    with pytest.raises(mltraq.errors.ForeignTable, match=r"'sales' .* table e_sales, which is not"):
        define(session, "sales").persist(mode)
    assert rows(shared_url, "SELECT a FROM e_sales") == [(5,)]
    assert session.ls().empty
    change(shared_url, f"DROP {kind} e_sales")
    assert define(session, "sales").persist(mode).runs.first().fields.x == 1


def test_tables_that_format_1_took_for_its_own(session, shared_url):
    change(shared_url, *(f"CREATE TABLE {place}_sales (a INTEGER)" for place in ("old", "new")))
    define(session, "sales").persist()
    define(session, "sales", "text").persist("replace")
    session.load("sales").delete()
    for place in ("old", "new"):
        assert rows(shared_url, f"SELECT a FROM {place}_sales") == []


def test_a_column_that_somebody_has_added(session, shared_url):
    define(session, "sales").persist()
    change(shared_url, "ALTER TABLE e_sales ADD COLUMN note INTEGER", "UPDATE e_sales SET note = 5")
    define(session, "sales", key="y").persist("merge")
    assert rows(shared_url, "SELECT note FROM e_sales") == [(5,)] * 3
    with pytest.raises(mltraq.errors.ForeignTable, match="column 'note' that is not from"):
        define(session, "sales", key="note").persist("merge")
    assert rows(shared_url, "SELECT note FROM e_sales") == [(5,)] * 3
    assert set(session.load("sales").runs.first().fields) == {"x", "y"}


def test_a_replacement_keeps_or_names_a_column_that_somebody_has_added(session, shared_url):
    define(session, "sales").persist()
    change(shared_url, "ALTER TABLE e_sales ADD COLUMN note INTEGER", "UPDATE e_sales SET note = 5")
    change_of_kind = define(session, "sales", "text")
    if shared_url.startswith("postgresql"):  # changes the table itself
        change_of_kind.persist("replace")
        assert rows(shared_url, "SELECT x, note FROM e_sales") == [("text", None)] * 3
    else:
        with pytest.raises(
            mltraq.errors.ForeignTable, match=r"would lose .* mltraq_prefect, note;"
        ):
            change_of_kind.persist("replace")
        assert rows(shared_url, "SELECT x, note FROM e_sales") == [(1, 5)] * 3
    session.load("sales").delete()
    assert session.ls().empty


def test_a_killed_writer_leaves_nothing_that_stays(shared_url):
    """Whatever it has begun to make is known as ours to the next one."""
    store = Store(shared_url)
    store.write(make_record(runs=[make_run(0, n=0)]), "fail")
    for at in range(3):
        worker = Worker()
        worker.begin(tasks.replace, shared_url, 0, 10**6)
        for _ in range(3 + at):
            worker.next_report()
        worker.kill()
    store.write(make_record(runs=[make_run(0, n=0.5)]), "replace")
    assert_sound(shared_url)
    assert store.query("SELECT * FROM experiment_unfinished")[1] == []
    store.close()


# -- schemas ---------------------------------------------------------------------------------------


@pytest.fixture
def two_schemas():
    """URLs of a search path of two schemas, and of the second alone."""
    with servers.postgresql_database() as first, servers.postgresql_database() as second:
        names_ = [
            sa.make_url(url).query["options"].removeprefix("-csearch_path=")
            for url in (first, second)
        ]
        path = f"-csearch_path={','.join(names_)}"
        both = sa.make_url(first).update_query_dict({"options": path})
        yield both.render_as_string(hide_password=False), second, names_


def test_a_table_of_another_schema_is_left_alone(two_schemas):
    both, second, _ = two_schemas
    change(second, "CREATE TABLE e_sales (a INTEGER)")
    with mltraq.create_session(both) as session:
        define(session, "sales").persist()
        define(session, "sales", "text").persist("replace")
        session.load("sales").delete()
    assert rows(second, "SELECT a FROM e_sales") == []


def test_who_has_a_schema_of_his_own_shares_ours(two_schemas):
    both, second, (first_name, _) = two_schemas
    with mltraq.create_session(second) as session:
        define(session, "shared").persist()
    with mltraq.create_session(both) as session:
        define(session, "mine").persist()
        assert session.load("shared").query("SELECT x FROM {experiment}")["x"].tolist() == [1] * 3
    with mltraq.create_session(second) as session:
        assert session.ls()["name"].tolist() == ["mine", "shared"]
        assert session.load("mine").runs.first().fields.x == 1
    sql = f"SELECT count(*) FROM pg_class WHERE relnamespace = '{first_name}'::regnamespace"
    assert rows(second, sql) == [(0,)]


def test_a_table_that_hides_ours_is_not_taken_for_it(two_schemas):
    both, second, (first_name, _) = two_schemas
    with mltraq.create_session(second) as session:
        define(session, "a").persist()
    with mltraq.create_session(both) as session:
        change(
            second,
            *(f"CREATE TABLE {first_name}.{t} (a INTEGER)" for t in ("e_a", "mltraq_update")),
        )
        more = define(session, "a", 1.5, n=100)
        more.persist("merge")
        assert len(session.load("a").runs) == 100
        again = session.load("a")
        for run in again.runs.values():
            run.fields.x = 2.5
        again.persist("merge")
        assert {run.fields.x for run in session.load("a").runs.values()} == {2.5}
        assert len(again.query("SELECT x FROM {experiment}")) == 100
    assert rows(second, f"SELECT a FROM {first_name}.e_a") == []


def test_a_schema_of_any_name():
    with servers.postgresql_database() as url:
        name = sa.make_url(url).query["options"].removeprefix("-csearch_path=")
        odd = f'{name} %s "q"'
        quoted = '"' + odd.replace('"', '""') + '"'
        change(url, f"CREATE SCHEMA {quoted}".replace("%", "%%"))
        option = quoted.replace(" ", "\\ ")
        odd_url = sa.make_url(url).update_query_dict({"options": f"-csearch_path={option}"})
        try:
            with mltraq.create_session(odd_url.render_as_string(hide_password=False)) as session:
                experiment = define(session, "a").persist()
                assert experiment.query("SELECT x FROM {experiment}")["x"].tolist() == [1] * 3
                assert session.ls()["bytes"][0] > 0
        finally:
            change(url, f"DROP SCHEMA {quoted} CASCADE".replace("%", "%%"))


# -- views and rights ------------------------------------------------------------------------------


def test_views_survive_every_mode(session, shared_url):
    define(session, "a").persist()
    change(shared_url, "CREATE VIEW best AS SELECT id_run, x FROM e_a")
    define(session, "a", 1.5, n=5).persist("merge")
    assert session.load("a").runs.first().fields.x == 1.5
    assert len(rows(shared_url, "SELECT x FROM best")) == 5
    define(session, "a", 2, n=4).persist("replace")
    assert len(rows(shared_url, "SELECT x FROM best")) == 4
    more = define(session, "a", 3, n=2)
    more.runs.first().fields.y = "new"
    more.persist("replace")
    assert rows(shared_url, "SELECT x FROM best") == [(3,), (3,)]


def test_views_on_the_view_survive_every_mode(session, shared_url):
    """Also grants, where there are any: on PostgreSQL columns are added at the end then."""
    define(session, "a").persist()
    change(shared_url, "CREATE VIEW best AS SELECT id_run, i, x, state FROM v_a")
    more = session.add_experiment("a").add_runs(i=[7], new=["text"])
    more.runs.first().fields.update(x=2, y="new")
    more.persist("merge")
    assert rows(shared_url, "SELECT new, y FROM v_a WHERE i = 7") == [("text", "new")]
    assert len(rows(shared_url, "SELECT x FROM best")) == 4
    define(session, "a", 2, n=2).persist("replace" if "postgresql" not in shared_url else "merge")
    more.persist("replace")
    assert rows(shared_url, "SELECT i, x, state FROM best") == [(7, 2, "pending")]
    refused = r"'a' cannot be .* view .*best[ ;]"
    for other in (
        lambda: define(session, "a", key="other").persist("replace"),
        lambda: session.add_experiment("a").add_runs(other=[1]).persist("replace"),
    ):
        with pytest.raises(mltraq.StoreError, match=refused):
            other()
        assert rows(shared_url, "SELECT i, x, state FROM best") == [(7, 2, "pending")]
        assert len(session.load("a").runs) == 1
    change(shared_url, "DROP VIEW best")
    define(session, "a", key="other").persist("replace")
    assert len(rows(shared_url, "SELECT other FROM v_a")) == 3


def test_a_kind_that_a_view_holds_fast(two_schemas):
    """A field keeps its kind; a param cannot, as it is of no other kind anywhere."""
    _, url, _ = two_schemas
    with mltraq.create_session(url) as session:
        define(session, "a").persist()
        change(url, "CREATE VIEW best AS SELECT i, x FROM v_a")
        define(session, "a", 0.5, n=4).persist("merge")
        assert session.load("a").runs.first().fields.x == 0.5
        assert rows(url, "SELECT count(x), max(x) FROM best") == [(0, None)]
        with pytest.raises(mltraq.StoreError, match=r"another type, and is used by view .*best"):
            session.add_experiment("a").add_runs(i=[0.5]).persist("merge")
        assert len(session.load("a").runs) == 4
        change(url, "DROP VIEW best")
        session.add_experiment("a").add_runs(i=[0.5]).persist("merge")
        assert rows(url, "SELECT max(i), min(i) FROM v_a") == [(3.0, 0.0)]


def test_rights_on_a_view_survive_every_mode(two_schemas):
    _, url, _ = two_schemas
    with mltraq.create_session(url) as session:
        define(session, "a").persist()
        change(
            url,
            "GRANT SELECT ON v_a TO PUBLIC",
            "GRANT UPDATE (x) ON v_a TO PUBLIC",
            "COMMENT ON VIEW v_a IS 'what %% of ? it''s'",
        )
        sql = (
            "SELECT (SELECT array_agg(grantee::int) FROM aclexplode(relacl)), "
            "obj_description(oid, 'pg_class') FROM pg_class WHERE oid = 'v_a'::regclass"
        )
        for mode, key, value in (
            ("merge", "y", "text"),
            ("merge", "x", 1.5),
            ("replace", "x", "text"),
            ("replace", "y", 1),
        ):
            define(session, "a", value, key=key).persist(mode)
            assert len(rows(url, f"SELECT {key} FROM v_a")) == 3
            [(grantees, comment)] = rows(url, sql)
            assert (0 in grantees, comment) == (True, "what % of ? it's"), (mode, key)


def test_a_view_that_would_lose_its_table_or_column_is_named(two_schemas):
    _, url, _ = two_schemas
    with mltraq.create_session(url) as session:
        define(session, "a").persist()
        change(url, "CREATE VIEW best AS SELECT id_run, x FROM e_a")
        for refused in (
            session.load("a").delete,
            lambda: define(session, "a", "text").persist("replace"),
            lambda: define(session, "a", key="other").persist("replace"),
        ):
            with pytest.raises(mltraq.StoreError, match=r"'a' cannot be .* used by view .*best;"):
                refused()
            assert len(rows(url, "SELECT x FROM best")) == 3
            assert len(session.load("a").runs) == 3
        change(url, "DROP VIEW best")
        session.load("a").delete()


def test_rights_survive_a_replacement_by_another_layout(two_schemas):
    _, url, _ = two_schemas
    with mltraq.create_session(url) as session:
        define(session, "a").persist()
        change(url, "GRANT SELECT ON e_a TO PUBLIC")
        for key, value in (("y", "text"), ("x", 1.5), ("x", "text")):
            define(session, "a", value, key=key).persist("replace")
            assert session.load("a").runs.first().fields == {key: value}
            sql = "SELECT grantee::int FROM pg_class, aclexplode(relacl) WHERE relname = 'e_a'"
            assert (0,) in rows(url, sql)


def test_a_table_whose_columns_have_been_replaced_too_often(two_schemas):
    """PostgreSQL counts the columns that a table has had; then it is made anew."""
    _, url, _ = two_schemas
    with mltraq.create_session(url) as session:
        for number in range(5):
            experiment = session.add_experiment("a").add_runs(i=[0])
            experiment.runs.first().fields.update({f"f{number}_{i}": i for i in range(380)})
            experiment.persist("replace" if number else "fail")
        assert set(session.load("a").runs.first().fields) == {f"f4_{i}" for i in range(380)}
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        assert sa.inspect(engine).get_pk_constraint("e_a")["constrained_columns"] == ["id_run"]


@pytest.mark.parametrize("shared_url", ["mariadb", "postgresql"], indirect=True)
def test_a_foreign_key_keeps_an_experiment(session, shared_url):
    define(session, "a").persist()
    ascii_ = "CHARACTER SET ascii COLLATE ascii_bin" if "mysql" in shared_url else 'COLLATE "C"'
    change(
        shared_url,
        f"CREATE TABLE notes (run VARCHAR(64) {ascii_}, FOREIGN KEY (run) REFERENCES e_a (id_run))",
    )
    with pytest.raises(
        mltraq.StoreError, match=r"'a' cannot be deleted, as its .* foreign key .* notes"
    ):
        session.load("a").delete()
    assert len(session.load("a").runs) == 3
    change(shared_url, "DROP TABLE notes")
    session.load("a").delete()
    assert session.ls().empty
    assert_sound(shared_url)


@contextlib.contextmanager
def mariadb_user(url, *grants):
    """Yield the URL of a user who has some rights on a database of MariaDB, and no others."""
    known = sa.make_url(url)
    user = f"u{known.database[:20]}"
    users = [f"{user}@'{host}'" for host in ("localhost", "%%")]
    for one in users:
        change(url, f"CREATE USER {one} IDENTIFIED BY '{user}'")
        change(url, *(f"GRANT {right} TO {one}" for right in grants))
    try:
        yield known.set(username=user, password=user).render_as_string(hide_password=False)
    finally:
        change(url, f"DROP USER {', '.join(users)}")


@pytest.mark.parametrize("shared_url", ["mariadb"], indirect=True)
def test_who_may_not_drop_deletes_nothing(session, shared_url):
    define(session, "a").persist()
    database = sa.make_url(shared_url).database
    rights = f"SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER ON {database}.*"
    with mariadb_user(shared_url, rights) as limited, mltraq.create_session(limited) as other:
        with pytest.raises(mltraq.StoreError):
            other.load("a").delete()
        assert len(other.load("a").runs) == 3
    assert len(session.load("a").runs) == 3
    session.load("a").delete()
    assert session.ls().empty
    assert_sound(shared_url)


@pytest.mark.parametrize("shared_url", ["mariadb"], indirect=True)
def test_who_may_make_no_view_writes_without(session, shared_url, caplog):
    database = sa.make_url(shared_url).database
    tables = f"SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP ON {database}.*"
    define(session, "old").persist()
    with mariadb_user(shared_url, tables) as limited, mltraq.create_session(limited) as other:
        define(other, "a").persist()
        define(other, "old", key="y").persist("merge")
        assert "make the view v_a of experiment 'a'" in caplog.text
        assert rows(shared_url, "SELECT count(*) FROM v_old") == [(3,)]
    for name in ("a", "old"):
        define(session, name, n=4).persist("merge")
        assert rows(shared_url, f"SELECT count(x) FROM v_{name}")[0][0] >= 1
    assert rows(shared_url, "SELECT count(y) FROM v_old") == [(3,)]
    assert_sound(shared_url)


@pytest.mark.parametrize("shared_url", ["mariadb"], indirect=True)
def test_grants_of_a_reader_survive(session, shared_url):
    define(session, "a").persist()
    database = sa.make_url(shared_url).database
    grants = [f"SELECT ON {database}.{name}" for name in ("e_a", "v_a")]
    with mariadb_user(shared_url, *grants) as reader:
        for mode, key, value in (("merge", "y", "text"), ("replace", "x", "text")):
            define(session, "a", value, key=key).persist(mode)
            for name in ("e_a", "v_a"):
                assert rows(reader, f"SELECT {key} FROM {name}") == [(value,)] * 3


# -- names -----------------------------------------------------------------------------------------

SUFFIXES = (
    "key",
    "pkey",
    "key1",
    "idx",
    "x_key",
    "id_run_key",
    "seq",
    "new",
    "old",
    "table_name_key",
)


def test_names_that_end_as_keys_do(session, shared_url):
    pairs = [f"a_{suffix}" for suffix in SUFFIXES]
    for name in ("a", *pairs, "runs", "run_steps", "runs_pkey", "sqlite_autoindex_e_a_1"):
        define(session, name).persist()
        define(session, name, "text").persist("replace")
    for name in ("a", *pairs):
        assert session.load(name).runs.first().fields.x == "text"
        session.load(name).delete()


def test_fields_that_are_called_as_helpers_are(session):
    experiment = session.add_experiment("a").add_runs(i=range(60))
    keys = ("k_id_run", "k_x", "c0", "c1", "c2", "u", "t", "id_run", "mltraq_update")
    for number, run in enumerate(experiment.runs.values()):
        run.fields.update(dict.fromkeys(keys, number))
    experiment.persist()
    for run in experiment.runs.values():
        run.fields.update({key: run.fields[key] + 1 for key in keys})
    experiment.persist("merge")
    found = [run.fields for run in session.load("a").runs.values()]
    assert found == [dict.fromkeys(keys, number + 1) for number in range(60)]


@settings(max_examples=200)
@given(
    name=st.text("ae_xk0y", min_size=1, max_size=12),
    other=st.text("ae_xk0y", min_size=1, max_size=12),
    suffix=st.sampled_from(["", *(f"_{suffix}" for suffix in SUFFIXES)]),
)
def test_no_name_of_ours_is_that_of_a_table(name, other, suffix):
    """Of a key, a helper, a column, another experiment's table, or a fixed one."""
    from mltraq_prefect.storage.formats.schema import TABLES

    mine, theirs = names.table_name(name), names.table_name(other + suffix)
    assert (mine == theirs) == (name == other + suffix)
    view = names.view_name(name)
    assert (view == names.view_name(other + suffix)) == (name == other + suffix)
    beside = {names.key_name(mine), names.helper_name(), view, *TABLES}
    assert theirs not in beside
    assert names.key_name(mine) not in {names.helper_name(), *TABLES}
    assert names.column_name(name + suffix, {"id_run"}).lower() != "id_run"
    assert all(len(found) <= 63 for found in (*beside, mine, theirs))


def test_tables_have_a_primary_key(session, shared_url):
    define(session, "a").persist()
    engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
    assert sa.inspect(engine).get_pk_constraint("e_a")["constrained_columns"] == ["id_run"]
    define(session, "a", "text").persist("replace")
    assert sa.inspect(engine).get_pk_constraint("e_a")["constrained_columns"] == ["id_run"]


# -- queries ---------------------------------------------------------------------------------------

WRITING = [
    "COMMIT; DELETE FROM e_a; SELECT 1",
    "SELECT 1; COMMIT; DELETE FROM e_a",
    "SELECT 1; DELETE FROM e_a; COMMIT",
    "DELETE FROM e_a",
    "/* SELECT */ DELETE FROM e_a",
    "-- SELECT\nDELETE FROM e_a",
    "WITH x AS (SELECT 1) DELETE FROM e_a",
    "WITH x AS (DELETE FROM e_a RETURNING 1) SELECT * FROM x",
    "DELETE FROM e_a RETURNING id_run",
    "EXPLAIN ANALYZE DELETE FROM e_a",
    "ANALYZE DELETE FROM e_a",
    "COMMIT",
    "SET TRANSACTION READ WRITE",
    "SET SESSION TRANSACTION READ WRITE",
    "USE mysql",
    "CREATE TABLE made AS SELECT 1 AS a",
    "CREATE TEMPORARY TABLE made (a INTEGER)",
    "SELECT 1 INTO made",
    "ATTACH 'made.db' AS made",
    "PRAGMA user_version = 5",
    "PRAGMA journal_mode = WAL",
    "PRAGMA writable_schema = 1",
    "VACUUM",
    "TRUNCATE e_a",
    "DROP TABLE e_a",
    "DO 1",
    "",
    "   -- nothing",
]


def test_a_query_only_reads_whatever_its_text_is(session, shared_url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    define(session, "a").persist()
    for sql in WRITING:
        with pytest.raises(mltraq.errors.QueryFailed):
            session.query(sql)
        with contextlib.suppress(mltraq.errors.QueryFailed):
            session.query(sql.replace("1", ":one"), {"one": 1})
        assert len(rows(shared_url, "SELECT id_run FROM e_a")) == 3, sql
        assert session.query("SELECT count(*) AS n FROM e_a")["n"].tolist() == [3], sql
    define(session, "a", 2).persist("merge")
    assert not (tmp_path / "made.db").exists()
    assert_sound(shared_url)


@pytest.mark.parametrize("words", ["INTO OUTFILE", "into/**/dumpfile", "/*!50000 INTO OUTFILE"])
def test_a_query_writes_no_file_of_the_server(words, tmp_path):
    with servers.mariadb_database() as url, mltraq.create_session(url) as session:
        path = tmp_path / "made"
        tmp_path.chmod(0o777)
        sql = f'SELECT "\\"" {words} \'{path}\'{" */" if "!" in words else ""} -- "'
        with pytest.raises(mltraq.errors.QueryFailed, match="which has INTO OUTFILE or DUMPFILE"):
            session.query(sql)
        assert not path.exists()


def test_what_reads_is_a_query(session, shared_url):
    define(session, "a").persist()
    reading = [
        "(SELECT 1)",
        "VALUES (1)",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
        "EXPLAIN SELECT 1",
    ]
    if "sqlite" in shared_url:
        reading = [*reading[1:], "PRAGMA table_info(e_a)", "SELECT value FROM json_each('[1]')"]
    if "mysql" in shared_url:
        reading = ["SHOW TABLES", "DESCRIBE e_a", "SELECT '%' LIKE '%'"]
    if "postgresql" in shared_url:
        reading += ["SHOW search_path", "TABLE e_a", "SELECT 'a%' LIKE '%'"]
    for sql in reading:
        assert len(session.query(f"  /* it */ {sql}")) > 0, sql


def test_a_store_is_sound_after_all_of_this(session, shared_url):
    record = make_record("b", runs=[make_run(i, n=i) for i in range(3)])
    store = Store(shared_url)
    store.write(record, "fail")
    with contextlib.suppress(mltraq.errors.QueryFailed):
        session.query("DELETE FROM e_b")
    assert_same_runs(store.read("b").runs, record.runs)
    store.close()
