"""Other names, tags and notes for experiments, on every backend."""

import json
import threading

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.errors import (
    CorruptData,
    ExperimentExists,
    ExperimentNotFound,
    FieldNotFound,
    ForeignTable,
    InvalidInput,
    InvalidName,
    QueryFailed,
    StoreError,
)
from tests.contract.integrity import assert_sound
from tests.contract.records import assert_same_runs, backend_of, make_record, make_run
from tests.contract.test_faults import Faults

RUNS = [make_run(i, n=i, pair=(i, i)) for i in range(3)]


@pytest.fixture
def faults(monkeypatch):
    return Faults(monkeypatch)


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


def log(run):
    run.log(loss=run.params.x / 2)


def names_of(store):
    return [row["name"] for row in store.ls()]


def test_what_is_held_of_an_experiment_goes_by_its_new_name(session):
    experiment = session.add_experiment("a")
    tags = experiment.tags
    experiment.rename("b")
    tags["team"] = "vision"
    unnamed = experiment.add_run(lock=threading.Lock())
    with pytest.raises(mltraq.InvalidInput, match=r"experiment 'b', run .* nothing identifies"):
        experiment.persist("merge")
    with pytest.raises(mltraq.InvalidInput, match="experiment 'b'"):
        tags["team"] = 5
    with pytest.raises(mltraq.InvalidName, match="experiment 'b': param name"):
        experiment.add_run(**{"": 1})
    del experiment.runs[unnamed.id_run]
    experiment.persist()
    loaded = session.load("b")
    assert loaded.tags == {"team": "vision"}
    with pytest.raises(mltraq.InvalidName, match="experiment 'b': param name"):
        loaded.add_run(**{"": 1})


# -- names -----------------------------------------------------------------------------------------


def test_an_experiment_and_its_table_get_another_name(session):
    experiment = session.add_experiment("a b", author="Ada").add_runs(x=[1, 2, 3])
    experiment.execute(log, backend="local").persist(store_pickle=True)
    ids = [*experiment.runs]
    experiment.rename("é;--")
    assert experiment.name == "é;--"
    (row,) = session.ls().itertuples()
    assert (row.name, row.runs, row.revision) == ("é;--", 3, 2)
    sql = f"SELECT count(*) AS n FROM {row.table_name}"
    assert session.query(sql)["n"].tolist() == [3]
    view, series = (f"{letter}_{row.table_name[2:]}" for letter in "vs")
    assert sorted(session.query(f"SELECT x FROM {view}")["x"]) == [1, 2, 3]
    assert sorted(session.query(f"SELECT loss FROM {series}")["loss"]) == [0.5, 1, 1.5]
    experiment.runs[ids[0]].fields.y = 1
    experiment.persist("merge")
    with pytest.raises(ExperimentNotFound):
        session.load("a b")
    again = session.load("é;--")
    assert again.runs[ids[0]].fields.y == 1
    assert again.fields.author == "Ada"
    assert again.runs[ids[2]].series["loss"].tolist() == [1.5]
    assert [*session.load("é;--", pickle=True).runs] == ids


def test_runs_keep_their_ids_and_new_ones_double_none(session):
    first = session.add_experiment("old").add_runs(x=[1, 2]).persist()
    session.load("old").rename("middle")
    session.load("middle").rename("new")
    defined = session.add_experiment("new").add_runs(x=[1, 2, 3])
    assert [*defined.runs][:2] == [*first.runs]
    defined.persist("merge")
    assert len(session.load("new").add_runs(x=[1, 3, 4]).runs) == 4
    assert [*session.load("new").copy("new").runs] == [*defined.runs]
    other = session.add_experiment("old").add_runs(x=[1]).persist()
    assert [*other.runs] == [*first.runs][:1]
    with pytest.raises(ExperimentExists, match="there is an experiment 'new' in the database"):
        other.rename("new")
    session.load("new").rename("newer")
    session.load("newer").rename("new")
    assert_sound_rows(session, {"new": 3, "old": 1})


def assert_sound_rows(session, runs):
    assert dict(session.ls()[["name", "runs"]].itertuples(index=False)) == runs
    for name, number in runs.items():
        assert len(session.load(name).runs.df()) == number


def test_what_was_read_before_is_not_written_under_the_old_name(session):
    stale = session.add_experiment("old").add_runs(x=[1]).persist()
    defined = session.add_experiment("new").add_runs(x=[1])
    session.load("old").rename("new")
    stale.add_run(x=2)
    for mode in ("fail", "merge", "replace"):
        with pytest.raises(StoreError, match="'old' has been renamed to 'new' since it was read"):
            stale.persist(mode)
    with pytest.raises(StoreError, match="was defined as 'old' and renamed"):
        defined.persist("merge")
    assert_sound_rows(session, {"new": 1})
    session.load("new").delete()
    stale.persist()
    assert_sound_rows(session, {"old": 2})


def test_what_is_not_stored_is_renamed_in_memory(session):
    session.add_experiment("taken").persist()
    experiment = session.add_experiment("first").add_runs(x=[1])
    experiment.rename("taken")
    with pytest.raises(ExperimentExists):
        experiment.persist()
    experiment.rename("second")
    experiment.persist()
    assert [*session.add_experiment("second").add_runs(x=[1]).runs] == [*experiment.runs]
    with pytest.raises(InvalidName):
        experiment.rename("")
    with pytest.raises(AttributeError, match=r"experiment\.rename\('x'\) renames it"):
        experiment.name = "x"


def test_a_table_of_somebody_else_is_left_alone(store, url):
    store.write(make_record("old", RUNS), "fail")
    if url == "sqlite://":
        return
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE e_new (x INTEGER)")
    with pytest.raises(ForeignTable, match="there is a table e_new, which is not from"):
        store.rename("old", "new")
    assert_same_runs(store.read("old").runs, RUNS)


def test_views_of_users_follow_or_are_named(store, url):
    store.write(make_record("old", RUNS), "fail")
    if url == "sqlite://":
        return
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    kind = backend_of(store)
    for source, refused in (("e_old", {"mariadb"}), ("v_old", {"mariadb", "sqlite"})):
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE VIEW mine AS SELECT n FROM {source} WHERE n > 0")
        if kind in refused:
            with pytest.raises(StoreError, match="cannot be renamed: view mine would not follow"):
                store.rename("old", "new")
            assert_same_runs(store.read("old").runs, RUNS)
        else:
            store.rename("old", "new")
            assert_same_runs(store.read("new").runs, RUNS)
            with engine.begin() as connection:
                assert connection.exec_driver_sql("SELECT count(*) FROM mine").scalar() == 2
                assert connection.exec_driver_sql("SELECT max(n) FROM v_new").scalar() == 2
            store.rename("new", "old")
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP VIEW mine")
    assert_sound(url)


@pytest.mark.parametrize("trouble", ["other", "conflict"])
def test_each_statement_of_a_renaming_fails_in_turn(store, faults, trouble):
    store.write(make_record("a", RUNS), "fail")
    now, then = "a", "b"
    for at in range(1, 100):
        faults.count, faults.at, faults.trouble = 0, at, trouble
        injected = False
        try:
            store.rename(now, then)
        except StoreError:
            assert trouble == "other"
            injected = True
        done, faults.at = faults.count < at, None
        (found,) = names_of(store)
        assert found in (now, then)
        assert injected or found == then
        assert_same_runs(store.read(found).runs, RUNS)
        if injected and found == now:
            store.rename(now, then)
        store.write(make_record(now, RUNS[:1]), "fail")  # nothing is in its way
        assert_same_runs(store.read(then).runs, RUNS)
        assert_same_runs(store.read(now).runs, RUNS[:1])
        store.delete(now)
        store.annotate(then, {}, None)  # who writes next tidies up
        assert store.query("SELECT * FROM experiment_unfinished")[1] == []
        now, then = then, now
        if done:
            break
    assert at > 5


# -- tags and notes --------------------------------------------------------------------------------


def test_tags_and_notes_are_stored_merged_and_listed(session):
    experiment = session.add_experiment("one")
    experiment.tags |= {"team": "vision", "ünï 'x'": ""}
    experiment.note = "first\nnote"
    experiment.persist()
    session.add_experiment("two").persist()
    here, there = session.load("one"), session.load("one")
    here.tags["model"], there.note = "svc", "second"
    del there.tags["team"]
    here.persist("merge")
    there.persist("merge")
    there.persist("merge")
    found = session.load("one")
    assert (found.tags, found.note) == ({"ünï 'x'": "", "model": "svc"}, "second")
    session.tag("one", {"model": None, "team": "audio"}, note="")
    found = session.load("one")
    assert (found.tags, found.note) == ({"ünï 'x'": "", "team": "audio"}, "")
    listed = session.ls(tags={"team": "audio"})
    assert listed[["name", "revision", "note"]].values.tolist() == [["one", 4, ""]]
    assert listed["tags"].tolist() == [found.tags]
    found.rename("three")
    assert session.load("three").tags == found.tags == session.load("three").copy().tags


def test_tags_and_notes_survive_that_an_experiment_is_replaced(session):
    def anew():
        return session.add_experiment("one").add_runs(x=[1, 2])

    anew().persist()
    session.tag("one", {"team": "vision", "model": "svc"}, note="first")
    anew().persist("replace")
    found = session.load("one")
    assert (found.tags, found.note) == ({"team": "vision", "model": "svc"}, "first")
    del found.tags["team"]
    session.tag("one", {"seen": "yes"})
    found.persist("replace")
    anew().execute(_nothing, backend="local", checkpoint="replace")
    again = anew()
    again.tags, again.note = {"model": "forest"}, "second"
    again.persist("replace")
    found = session.load("one")
    assert (found.tags, found.note) == ({"model": "forest", "seen": "yes"}, "second")
    found.delete()
    anew().persist("replace")
    assert (session.load("one").tags, session.load("one").note) == ({}, "")


def _nothing(run):
    pass


def test_experiments_are_chosen_by_a_condition(session):
    for name, runs in (("a", 1), ("b'", 5), ("c", 9)):
        experiment = session.add_experiment(name).add_runs(x=range(runs))
        experiment.tags["size"] = str(runs)
        experiment.persist()

    def found(where, **params):
        return session.ls(where=where, params=params)["name"].tolist()

    assert found("runs > :n", n=3) == ["b'", "c"]
    assert found("name = :name", name="b'") == ["b'"]
    assert found("json_extract(tags, '$.size') IN :sizes", sizes=["1", "9"]) == ["a", "c"]
    assert found("1 = 0 OR pending = 1") == ["a"]
    wrong = {
        "run > 3": (FieldNotFound, "no column 'run'; did you mean 'runs'"),
        "runs >": (QueryFailed, "ls: the condition was refused"),
        "runs > 3); DROP TABLE experiments; --": (InvalidInput, "a comment"),
        "runs > 3; DROP TABLE experiments": (InvalidInput, "a semicolon"),
        "runs > 3) OR (1 = 1": (InvalidInput, "parentheses that do not match"),
        "": (InvalidInput, "give a condition"),
        "runs > :m": (QueryFailed, "m"),
        """ "run" = 'run' """: (FieldNotFound, "no column 'run'; did you mean 'runs'"),
        "name = '\ud800'": (QueryFailed, "the statement has a lone surrogate"),
        "DELETE FROM listed": (QueryFailed, "refused"),
        "name IN (SELECT id_run FROM e_a)": (QueryFailed, "no such table: e_a"),
    }
    for where, (error, message) in wrong.items():
        with pytest.raises(error, match=message):
            found(where)
    with pytest.raises(InvalidInput, match="give where, too"):
        session.ls(params={"x": 1})
    assert len(session.ls()) == 3


@pytest.mark.parametrize(
    ("tags", "note", "message"),
    [
        ({"x": 1}, "", "tag 'x' is of type int; give a text"),
        ({1: "x"}, "", "name of a tag 1 is of type int"),
        ({"": "x"}, "", "name of a tag is an empty string"),
        ({"x": "secret\0"}, "", "tag 'x' contains a NUL"),
        ({"x": "secret\ud800"}, "", "tag 'x' contains a lone surrogate"),
        ({"x": "y" * 66_000}, "", "its tags take more than 65,536 bytes"),
        ({}, "é" * 33_000, "its note takes more than 65,536 bytes"),
        ({}, None, "note is of type NoneType"),
        ([], "", "tags is of type list"),
    ],
)
@pytest.mark.parametrize("url", ["sqlite-memory"], indirect=True)
def test_other_tags_are_refused_where_they_are_set(session, tags, note, message):
    experiment = session.add_experiment("one")
    experiment.tags, experiment.note = {"kept": "a"}, "kept"
    with pytest.raises(InvalidInput, match=message) as refused:
        experiment.tags, experiment.note = tags, note
    assert "secret" not in str(refused.value)
    if isinstance(tags, dict) and tags:
        for change in (experiment.tags.update, experiment.tags.__ior__):
            with pytest.raises(InvalidInput, match=message):
                change(tags)
        for change in (experiment.tags.__setitem__, experiment.tags.setdefault):
            with pytest.raises(InvalidInput, match=message):
                change(*next(iter(tags.items())))
    assert experiment.note == "kept"
    assert tags == {} or experiment.tags == {"kept": "a"}
    for ask in (lambda: session.tag("one", "x"), lambda: session.ls(tags="x")):
        with pytest.raises(InvalidInput, match="tags is of type str"):
            ask()


@pytest.mark.parametrize("url", ["sqlite-file"], indirect=True)
def test_tags_that_somebody_has_changed_to_something_else_are_named(session, url):
    session.add_experiment("one").persist()
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    for wrong in ("[1]", "{", json.dumps({"a": 1}), "7"):
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE experiments SET tags = ?", (wrong,))
        with pytest.raises(CorruptData, match="are not as this package writes"):
            session.load("one")
