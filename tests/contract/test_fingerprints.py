"""What fingerprints were made of is stored with the runs, and goes with them."""

import json

import pytest

import mltraq_prefect as mltraq

RATE = 1


def scale(run):
    run.fields.x = run.params.N * RATE


def stored(session):
    return session.query("SELECT step, parts FROM experiment_steps ORDER BY digest")


def execute(session, **options):
    experiment = session.add_experiment("e").add_runs(N=[1, 2])
    return experiment.execute(scale, {"k": 0.5}, backend="local", **options)


@pytest.fixture
def other_rate(monkeypatch):
    monkeypatch.setitem(globals(), "RATE", 2)


def test_one_row_a_digest_whatever_is_written_when(session):
    experiment = execute(session, checkpoint=True)
    experiment.persist("merge")
    session.load("e").persist("merge")
    rows = stored(session)
    assert sorted(map(str, rows["step"].fillna("kwargs"))) == ["kwargs", "scale"]
    parts = {name: digest for text in rows["parts"] for name, digest in json.loads(text).items()}
    assert parts["value of RATE in module test_fingerprints"] == "int 1"
    assert parts["value of k in kwargs"] == "float 0.5"


def test_a_refusal_names_what_the_database_has(session, monkeypatch):
    execute(session).persist()
    monkeypatch.setitem(globals(), "RATE", 2)
    with pytest.raises(mltraq.InvalidInput, match=r"other value of RATE in module .*\(1 -> 2\)"):
        execute(session, checkpoint=True)


def test_it_is_replaced_and_deleted_with_the_experiment(session, other_rate):
    execute(session).persist()
    assert len(stored(session)) == 2
    execute(session).persist("replace")
    assert len(stored(session)) == 2
    session.load("e").delete()
    assert stored(session).empty


def test_it_goes_with_the_experiment_to_another_database_and_into_a_copy(session):
    execute(session).persist()
    elsewhere = mltraq.create_session()
    elsewhere.persist(session.load("e"))
    assert len(stored(elsewhere)) == 2
    elsewhere.load("e").copy("f").persist()
    assert len(stored(elsewhere)) == 4
