"""What statements of users return: columns of experiments as values, all others as they are."""

import datetime as dt
import uuid

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import mltraq_prefect as mltraq

DAY, CLOCK, MOMENT = dt.date(2026, 1, 2), dt.time(3, 4, 5, 6), dt.datetime(1, 2, 3, 4, 5, 6, 7)
ID = uuid.UUID(int=7)


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as session:
        yield session


@pytest.fixture
def experiment(session):
    experiment = session.add_experiment("kinds").add_runs(x=[1, 2])
    first, second = experiment.runs.values()
    first.fields.update(
        ok=True, n=1, day=DAY, clock=CLOCK, moment=MOMENT, id=ID, word="x", tree={"a": [1]},
        small=np.arange(3), large=np.arange(9000.0), frame=pd.DataFrame({"a": [1.5]}),
    )  # fmt: skip
    second.fields.update(n=5, large=np.arange(9000.0))
    return experiment.persist()


def test_columns_of_experiments_are_values_under_any_name(session, experiment):
    sql = "SELECT ok, ok AS n, n AS ok, day AS d, clock, moment, id, word FROM e_kinds ORDER BY n"
    sql = sql.replace("ORDER BY n", "ORDER BY e_kinds.n")
    found = session.query(sql)
    assert [str(dtype) for dtype in found.dtypes[:3]] == ["boolean", "boolean", "int64"]
    assert found.iloc[0].tolist() == [True, True, 1, DAY, CLOCK, pd.Timestamp(MOMENT), ID, "x"]
    assert found["moment"].dtype == "datetime64[us]"
    assert found.iloc[1, [0, 1, 3, 4, 5, 6, 7]].isna().all()


def test_columns_of_views_and_series_are_values_too(session):
    experiment = session.add_experiment("viewed")
    with experiment.run(flag=True, day=DAY, tree=[1]) as run:
        run.fields.update(ok=False, large=np.arange(9000.0))
        run.log(0, done=True)
    experiment.persist()
    found = session.query("SELECT flag AS x, day, ok, large, tree FROM v_viewed", decode=True)
    assert found[["x", "day", "ok", "tree"]].values.tolist() == [[True, DAY, False, [1]]]
    assert found["large"][0].tolist() == list(range(9000))
    series = session.query("SELECT done, at FROM s_viewed")
    assert series.dtypes.astype(str).tolist() == ["bool", "datetime64[us]"]


@pytest.mark.parametrize(
    "text", ["'union select'", "'values ''with'' table'", "/* except select */ 1"]
)
def test_words_in_texts_and_comments_are_no_subqueries(session, experiment, text):
    found = session.query(f"SELECT {text} AS a, ok, day FROM e_kinds WHERE n = 1")
    assert found[["ok", "day"]].values.tolist() == [[True, DAY]]


def test_a_statement_may_begin_with_a_comment_of_its_database(session, experiment, url):
    comment = "# it's :x\n" if url.startswith("mysql") else "-- it's :x\n"
    if url.startswith("postgresql"):
        comment = "/* :x /* it's */ {y} */"
    assert session.query(f"{comment}SELECT n FROM e_kinds WHERE n = 1")["n"].tolist() == [1]
    if url.startswith("mysql"):
        with pytest.raises(mltraq.QueryFailed, match=r"only reads.* begins with '/\*!'"):
            session.query("/*! SET @a = */ (SELECT 1)")


def test_a_word_in_a_text_does_not_hide_a_name_that_is_not_there(session, experiment, url):
    name = "`typo`" if url.startswith("mysql") else '"typo"'
    with pytest.raises(mltraq.FieldNotFound, match="no column 'typo'"):
        session.frame("kinds", ["x"], f"word <> 'select' AND {name} = 'typo'")


def test_a_backslash_is_what_it_is_in_the_database(session, url):
    experiment = session.add_experiment("paths").add_runs(x=[1, 2])
    for run in experiment.runs.values():
        run.fields.path = "a\\" if run.params.x == 1 else "b"
    experiment.persist()
    text = r"'a\\'" if url.startswith("mysql") else r"'a\'"
    where = f"path = {text} AND x = :x AND 'b' <> ':y)'"
    assert session.frame("paths", ["x"], where, {"x": 1})["x"].tolist() == [1]
    found = session.query(f"SELECT x FROM v_paths WHERE {where}", {"x": 1})
    assert found["x"].tolist() == [1]
    assert experiment.delete_runs(where, {"x": 1}) == 1


def test_what_is_computed_is_as_the_database_gives_it(session, experiment):
    sql = "SELECT n + 0 AS ok, upper(word) AS day, CASE WHEN n = 1 THEN 1 ELSE 0 END AS ok2 "
    found = session.query(f"{sql} FROM e_kinds WHERE n = :n", {"n": 1})
    assert found.values.tolist() == [[1, "X", 1]]
    both = "SELECT n AS ok FROM e_kinds UNION ALL SELECT n + 1 FROM e_kinds"
    assert sorted(session.query(both)["ok"].tolist()) == [1, 2, 5, 6]
    shadowed = "SELECT e_kinds.ok FROM (SELECT n AS ok FROM e_kinds) e_kinds"
    assert sorted(session.query(shadowed)["ok"].tolist()) == [1, 5]


def test_binary_cells_and_trees_are_decoded_on_request(session, experiment):
    sql = "SELECT small, large, large AS again, frame, tree FROM {experiment} ORDER BY n LIMIT 1"
    raw = experiment.query(sql)
    assert type(raw["small"][0]) is bytes
    found = experiment.query(sql, decode=True)
    assert_frame_equal(found["frame"][0], pd.DataFrame({"a": [1.5]}))
    assert found["tree"][0] == {"a": [1]}
    assert found["small"][0].tolist() == [0, 1, 2]
    for column in ("large", "again"):
        assert found[column][0].tolist() == list(range(9000))
    params = session.query("SELECT params FROM experiment_runs ORDER BY position", decode=True)
    assert params["params"].tolist() == [{"x": 1}, {"x": 2}]
    empty = session.query("SELECT large, ok FROM e_kinds WHERE n > 9", decode=True)
    assert empty.shape == (0, 2)


@pytest.mark.parametrize("damage", ["small = X'00'", "ok = 7, day = 'never'"])
def test_damage_is_named_or_shown(tmp_path, damage):
    with mltraq.create_session(f"sqlite:///{tmp_path}/a.db") as session:
        experiment = session.add_experiment("kinds").add_runs(x=[1])
        experiment.runs.first().fields.update(ok=True, day=DAY, small=np.arange(3))
        experiment.persist()
        import sqlite3

        with sqlite3.connect(tmp_path / "a.db") as connection:
            connection.execute(f"UPDATE e_kinds SET {damage}")
        if damage.startswith("small"):
            with pytest.raises(mltraq.CorruptData, match=r"'kinds'.*field 'small'"):
                session.query("SELECT small FROM e_kinds", decode=True)
        else:
            found = session.query("SELECT ok, day FROM e_kinds", decode=True)
            assert found.values.tolist() == [[7, "never"]]


def test_subqueries_and_other_peoples_views_keep_origins(tmp_path):
    """As the docs say of SQLite, where nothing but origins tells dates from text."""
    path = tmp_path / "a.db"
    with mltraq.create_session(f"sqlite:///{path}") as session:
        experiment = session.add_experiment("kinds").add_runs(x=[1])
        experiment.runs.first().fields.update(ok=True, day=DAY, n=1)
        experiment.persist()
        import sqlite3

        with sqlite3.connect(path) as connection:
            connection.execute("CREATE VIEW best AS SELECT ok AS n, day AS d FROM e_kinds")
            connection.execute("CREATE TABLE days (day DATE)")
            connection.execute("INSERT INTO days VALUES ('2026-01-02')")
        sql = (
            "WITH q AS (SELECT * FROM best WHERE n = :one) SELECT q.d, q.n, days.day, "
            "(SELECT day FROM e_kinds) AS s, max(q.d) AS m FROM q JOIN days ON days.day = q.d;"
        )
        found = session.query(sql, {"one": 1})
        assert found.values.tolist() == [[DAY, True, "2026-01-02", DAY, "2026-01-02"]]
