"""Opening and reading a database that is not there, or not there any more."""

import os
import pickle
import stat

import pytest

import mltraq_prefect as mltraq


@pytest.fixture
def path(url):
    return url.removeprefix("sqlite:///")


def test_reading_creates_nothing(url, path):
    with mltraq.create_session(url) as session:
        assert session.ls().empty
        assert session.ls(pending="metrics").empty
        for is_pickle in (False, True):
            with pytest.raises(
                mltraq.ExperimentNotFound, match=r"'one' in the database .* is empty"
            ):
                session.load("one", pickle=is_pickle)
        with pytest.raises(mltraq.QueryFailed, match="is empty: nothing has been persisted"):
            session.query("SELECT 1")
    assert not os.path.exists(path)


def test_a_database_that_must_be_there(url, path):
    with pytest.raises(mltraq.StorageUnavailable, match="there is no database sqlite:///"):
        mltraq.create_session(url, create=False)
    assert not os.path.exists(path)
    with mltraq.create_session(url) as session:
        session.add_experiment("one").persist()
    with mltraq.create_session(url, create=False) as session:
        assert list(session.ls()["name"]) == ["one"]


def test_who_defines_an_experiment_is_told_at_once_that_it_cannot_be_stored(url, path):
    with mltraq.create_session(url) as session:
        session.add_experiment("one")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert session.ls().empty
    with pytest.raises(mltraq.StorageUnavailable, match=r"cannot be reached: .*No such file"):
        mltraq.create_session(f"sqlite:///{path}.d/mltraq.db")
    read_only = mltraq.create_session(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert read_only.ls().empty
    os.truncate(path, 0)
    read_only = mltraq.create_session(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert read_only.ls().empty
    with pytest.raises(mltraq.ReadOnlyStore, match="cannot be written"):
        read_only.add_experiment("two")


def test_a_file_that_is_deleted_under_an_open_session(url, path):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("one").add_runs(x=[1])
        experiment.persist()
        os.remove(path)
        assert session.ls().empty
        with pytest.raises(mltraq.ExperimentNotFound):
            session.load("one")
        assert not os.path.exists(path)
        session.add_experiment("two").persist()
        assert list(session.ls()["name"]) == ["two"]


def test_a_session_that_cannot_be_sent_elsewhere_says_what_to_do(url):
    with (
        mltraq.create_session(url) as session,
        pytest.raises(TypeError, match="call create_session where it is needed"),
    ):
        pickle.dumps(session)
