"""Files of runs on every backend: kept once, carried wherever their run goes, verified."""

import hashlib
import itertools
import shutil
from pathlib import Path

import fsspec
import pytest
import sqlalchemy as sa
from fsspec.implementations.local import LocalFileSystem

import mltraq_prefect as mltraq
from mltraq_prefect.errors import CorruptData, StorageFull, StoreError
from mltraq_prefect.model.spool import own_spool
from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.kills import kill_writers
from tests.contract.processes import Worker
from tests.steps_of_files import evaluate, keep, model_of, overflow, room

CONTENTS = "SELECT count(*) AS n FROM experiment_file_pieces WHERE number = 0"
FILES = "SELECT count(*) AS n FROM experiment_files"


def number(session, sql):
    return session.query(sql)["n"].tolist()[0]


def kept(session, name="x", runs=(1, 2)):
    experiment = session.add_experiment(name).add_runs(x=list(runs))
    return experiment.execute(steps=keep, backend="local").persist()


def contents(run):
    return {name: file.path().read_bytes() for name, file in run.files.items()}


class Waiting(LocalFileSystem):
    """The location to which `tasks.upload_and_wait` writes; here nobody waits."""

    protocol = "waiting"


fsspec.register_implementation("waiting", Waiting, clobber=True)


def forget_copies():
    """Be as a process that has not read any file yet."""
    shutil.rmtree(Path(own_spool().folder, "copies"), ignore_errors=True)


def contents_of(x):
    return {
        "empty": b"",
        "model.bin": model_of(x),
        "notes/same.txt": b"the same in all runs",
    }


def assert_kept(session, name="x", runs=(1, 2)):
    found = session.load(name).runs
    assert [contents(run) for run in found.values()] == [contents_of(x) for x in runs]


def test_they_are_kept_once_and_come_back(url):
    with mltraq.create_session(url) as session:
        kept(session)
        assert_kept(session)
        file = session.load("x").runs.first().files["model.bin"]
        assert (file.size, file.name) == (2_500_000, "model.bin")
        assert file.sha256 == hashlib.sha256(model_of(1)).hexdigest()
        assert file.path().name == "model.bin"
        assert (number(session, FILES), number(session, CONTENTS)) == (6, 4)
        pieces = "SELECT count(*) AS n FROM experiment_file_pieces"
        assert number(session, pieces) == 2 * 3 + 1 + 1
        assert session.ls()["bytes"].tolist()[0] > 5_000_000
        assert len(session.verify()) == 0


def test_they_go_wherever_their_run_goes(shared_url, tmp_path):
    with mltraq.create_session(shared_url) as session:
        kept(session)
        revision = session.load("x").persist("merge").info()["revision"]
        assert revision == 1
        session.load("x").persist("replace")
        assert_kept(session)
        session.load("x").copy("y").persist()
        assert_kept(session, "y")
        with mltraq.create_session(f"sqlite:///{tmp_path}/other.db") as other:
            for mode in ("fail", "merge", "replace"):
                other.persist(session.load("x"), if_exists=mode)
                assert_kept(other)
                assert (number(other, FILES), number(other, CONTENTS)) == (6, 4)
        session.load("y").rename("z")
        assert_kept(session, "z")
        session.load("z").delete_runs("x = 1")
        assert_kept(session, "z", [2])
        assert (number(session, FILES), number(session, CONTENTS)) == (9, 7)
        session.load("z").delete()
        assert session.prune("x", slots=1, slot="x") == 1
        assert_kept(session, "x", [2])
        assert len(session.verify()) == 0
        assert_sound(shared_url)
        session.add_experiment("x").add_runs(x=[3]).persist("replace")
        assert (number(session, FILES), number(session, CONTENTS)) == (0, 0)
    assert_sound(shared_url)


def test_an_evaluation_adds_replaces_and_deletes(shared_url):
    with mltraq.create_session(shared_url) as session:
        kept(session)
        experiment = session.load("x")
        experiment.execute(steps=evaluate, backend="local").persist("merge")
        experiment.runs.first().files["model.bin"] = b"smaller"
        experiment.persist("merge")
        for loaded in (experiment, session.load("x")):
            first, second = map(contents, loaded.runs.values())
            assert first == {
                "model.bin": b"smaller",
                "notes/same.txt": b"the same in all runs",
                "score.txt": b"1",
            }
            assert second["model.bin"] == model_of(2)
            assert second["score.txt"] == b"2"
        assert (number(session, FILES), number(session, CONTENTS)) == (6, 5)
        with pytest.raises(KeyError, match="has no file 'empty'"):
            session.load("x").runs.first().files["empty"]
    assert_sound(shared_url)


@pytest.mark.parametrize("cell", ["path = '..'", "path = 'a/../../b'", "sha256 = '../../x'"])
@pytest.mark.parametrize("shared_url", ["sqlite-file"], indirect=True)
def test_a_file_of_a_database_leads_nowhere_else(shared_url, cell):
    with mltraq.create_session(shared_url) as session:
        kept(session)
        engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"UPDATE experiment_files SET {cell} WHERE path = 'model.bin'"
            )
        forget_copies()
        files = session.load("x").runs.first().files
        name = cell.split("'")[1] if cell.startswith("path") else "model.bin"
        with pytest.raises(CorruptData, match="a name or a digest that no file has"):
            files[name].path()


CORRUPT = {
    "UPDATE experiment_file_pieces SET data = :other WHERE number = 1 AND {own}": "digests differ",
    "UPDATE experiment_file_pieces SET data = :more WHERE number = 1 AND {own}": "more than",
    "DELETE FROM experiment_file_pieces WHERE number = 2 AND {own}": "only 2,097,152 of its",
    "DELETE FROM experiment_file_pieces WHERE {own}": "only 0 of its",
}


@pytest.mark.parametrize("sql", CORRUPT)
def test_corrupt_content_is_named_and_never_given(shared_url, sql):
    with mltraq.create_session(shared_url) as session:
        kept(session)
        first = session.load("x").runs.first()
        own = f"sha256 = '{first.files['model.bin'].sha256}'"
        other = {"other": bytes(1 << 20), "more": bytes(5 << 20)}
        statement = sa.text(sql.format(own=own))
        engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.execute(statement, {key: other[key] for key in other if f":{key}" in sql})
        forget_copies()
        with pytest.raises(CorruptData) as refused:
            first.files["model.bin"].path()
        said = str(refused.value)
        assert said.startswith("experiment 'x', run x=1: file 'model.bin' is corrupt: ")
        assert CORRUPT[sql] in said
        assert first.files["notes/same.txt"].path().read_bytes()
        found = session.verify("x")
        assert (found["run"].tolist(), found["field"].tolist()) == (
            [first.id_run],
            ["files['model.bin']"],
        )
        assert CORRUPT[sql] in found["problem"].tolist()[0]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_pickle_has_the_contents_that_are_stored(shared_url, tmp_path, monkeypatch, is_folder):
    monkeypatch.setenv("MLTRAQ_PICKLE_KEY", "a secret of sixteen")
    files = tmp_path / "files" if is_folder else None
    with mltraq.create_session(shared_url, files=files) as session:
        experiment = session.add_experiment("x").add_runs(x=[1, 2])
        experiment.execute(steps=keep, backend="local").persist(store_pickle=True)
        for mode in ("merge", "replace"):
            for run in experiment.runs.values():
                run.release_files()  # as if the process that has made them was gone
            forget_copies()
            experiment = session.load("x", pickle=True)
            assert [contents(run) for run in experiment.runs.values()] == list(
                map(contents_of, (1, 2))
            )
            forget_copies()
            experiment.persist(mode, store_pickle=True)
            assert_kept(session)
        assert session.verify().empty
    assert_sound(shared_url)


def test_what_somebody_has_deleted_before_it_was_written_is_named(tmp_path):
    for files in (None, tmp_path / "files"):
        with mltraq.create_session("sqlite://", files=files) as session:
            with session.add_experiment("x").run(x=1) as run:
                run.files["model.bin"] = b"x"
            experiment = session.add_experiment("y").add_runs(x=[1])
            experiment.runs.first().files["model.bin"] = run.files["model.bin"]
            Path(experiment.runs.first().own_files.entries["model.bin"].spooled).unlink()
            forget_copies()
            with pytest.raises(CorruptData, match=r"experiment 'y'.*somebody has deleted it"):
                experiment.persist()
            assert session.ls().empty


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_file_that_was_deleted_since_it_was_listed_is_not_called_corrupt(
    shared_url, tmp_path, is_folder
):
    location = {"files": tmp_path / "kept"} if is_folder else {}
    with mltraq.create_session(shared_url, **location) as session:
        kept(session)
        run = session.load("x").runs.first()
        listed = dict(run.files.items())
        session.load("x").delete_runs("id_run = :id", {"id": run.id_run})
        session.prune()
        forget_copies()
        with pytest.raises(StoreError, match=r"'model\.bin' has been deleted or replaced since"):
            listed["model.bin"].path()


def test_contents_that_no_file_has_are_found(shared_url):
    with mltraq.create_session(shared_url) as session:
        kept(session)
        engine = sa.create_engine(shared_url, poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM experiment_files WHERE path = 'model.bin'")
        (problem,) = session.verify("x")["problem"].tolist()
        assert "2 contents that no file has" in problem
        with engine.begin() as connection:
            connection.exec_driver_sql(problem.partition("execute ")[2])
        assert len(session.verify("x")) == 0
        assert number(session, CONTENTS) == 2


def test_killed_writers_leave_no_file_without_content(shared_url):
    kill_writers(tasks.keep_files, itertools.repeat(shared_url), points=6)


# -- outside of the database ---------------------------------------------------------------------


def objects(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_they_are_kept_in_a_folder(shared_url, tmp_path):
    folder = tmp_path / "files"
    with mltraq.create_session(shared_url, files=folder) as session:
        kept(session)
        assert_kept(session)
        assert (number(session, CONTENTS), len(objects(folder))) == (0, 4)
        assert len(session.verify()) == 0
        session.load("x").persist("replace")
        assert_kept(session)
        assert len(objects(folder)) == 4
        session.load("x").copy("y").persist()
        experiment = session.load("x")
        experiment.execute(steps=evaluate, backend="local").persist("merge")
        assert len(objects(folder)) == 4 + 5
        session.load("y").delete()
        session.load("x").delete_runs("x = 1")
        assert len(objects(folder)) == 3
        assert session.query("SELECT * FROM experiment_uploads").empty
        session.prune("x", slots=1, slot="x")
    with mltraq.create_session(shared_url) as session:
        run = session.load("x").runs.first()
        forget_copies()
        with pytest.raises(StoreError, match="open the session with files="):
            run.files["model.bin"].path()
        assert "open the session" in session.verify()["problem"].tolist()[0]
        session.load("x").delete()  # which cannot remove them
    with mltraq.create_session(shared_url, files=f"file://{folder}") as session:
        assert len(objects(folder)) == 3
        session.prune()
        assert (objects(folder), session.query("SELECT * FROM experiment_uploads").empty) == (
            [],
            True,
        )


def test_a_session_with_another_location_forgets_nothing(shared_url, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # folders of other tests count, too
    folder, other = tmp_path / "files", tmp_path / "other"
    with mltraq.create_session(shared_url, files=folder) as session:
        kept(session)
    with mltraq.create_session(shared_url, files=other) as session:
        forget_copies()
        with pytest.raises(
            CorruptData, match=f"not in {other} any more; it was written to {folder}"
        ):
            session.load("x").runs.first().files["model.bin"].path()
        session.load("x").delete()
        assert f"stay in {folder}" in caplog.text
        assert session._store.remove_leftovers() == 0
        assert len(objects(folder)) == 4
    with mltraq.create_session(shared_url, files=folder) as session:
        seen = []
        assert session._store.remove_leftovers(lambda *own: seen.append(own)) == 4
        assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
        assert objects(folder) == []
        assert session.query("SELECT * FROM experiment_uploads").empty


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_does_not_fit_on_the_disk_leaves_nothing(tmp_path, is_folder):
    folder = tmp_path / "files" if is_folder else None
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db", files=folder) as session:
        experiment = session.add_experiment("x").add_runs(room=[2_500_000])
        experiment.execute(steps=overflow, backend="local")
        with room(1_500_000), pytest.raises(StorageFull, match="nothing was written"):
            experiment.persist()
        assert session.ls().empty
        found = [path.read_bytes() for path in objects(tmp_path / "files")]
        assert found == [b"y"] * is_folder  # whole, and known to `prune`
        experiment.persist()
        assert list(session.load("x").runs.first().files) == ["fine", "large.bin"]
        assert len(session.verify()) == 0


def test_they_are_kept_in_any_file_system(url):
    location = f"memory://bucket-{hashlib.sha256(url.encode()).hexdigest()[:8]}/runs"
    with mltraq.create_session(url, files=location) as session:
        kept(session)
        assert_kept(session)
        with session.load("x").runs.first().files["model.bin"].open() as file:
            assert file.read(3) == b"\1\1\1"
        from fsspec.implementations.memory import MemoryFileSystem

        root = location.removeprefix("memory:/")
        store = MemoryFileSystem.store
        (large, *_) = [key for key in store if key.startswith(root) and store[key].size > 100]
        store[large].seek(0)
        store[large].write(b"changed")
        forget_copies()
        runs = session.load("x").runs.values()
        with pytest.raises(CorruptData, match="digests differ"):
            [contents(run) for run in runs]


@pytest.mark.parametrize("files", [1, 2])
def test_what_a_killed_writer_has_uploaded_is_pruned(shared_url, tmp_path, files):
    folder = tmp_path / "files"
    with mltraq.create_session(shared_url, files=f"waiting://{folder}") as session:
        kept(session, "other")
    worker = Worker()
    worker.begin(tasks.upload_and_wait, shared_url, str(folder), files, str(tmp_path / "go"))
    worker.next_report()
    worker.kill()
    with mltraq.create_session(shared_url, files=f"waiting://{folder}") as session:
        assert len(objects(folder)) == 4 + files - 1
        assert number(session, "SELECT count(*) AS n FROM experiment_uploads") == files
        assert session.prune() == 0
        assert len(objects(folder)) == 4
        assert session.query("SELECT * FROM experiment_uploads").empty
        assert_kept(session, "other")
        assert session.ls()["name"].tolist() == ["other"]
    assert_sound(shared_url)


def test_a_writer_whose_upload_was_pruned_uploads_again(shared_url, tmp_path):
    folder, signal = tmp_path / "files", tmp_path / "go"
    worker = Worker()
    worker.begin(tasks.upload_and_wait, shared_url, str(folder), 2, str(signal))
    worker.next_report()
    with mltraq.create_session(shared_url, files=f"waiting://{folder}") as session:
        session.prune()
        assert objects(folder) == []
        signal.touch()
        worker.result()
        worker.end()
        run = session.load("uploaded").runs.first()
        assert contents(run) == {"0": tasks.content(0), "1": tasks.content(1)}
        assert len(objects(folder)) == 2


def test_a_location_that_cannot_be_used_is_refused(url, tmp_path):
    for files, said in {
        "ftp://user:secret@host/x": "has a password",
        "simplecache::ftp://user:secret@host/x": "has a password",
        "nothing://x": "cannot be used",
        "": "use a folder",
    }.items():
        with pytest.raises(mltraq.errors.InvalidInput, match=said) as refused:
            mltraq.create_session(url, files=files)
        assert "secret" not in str(refused.value)
    (tmp_path / "file").touch()
    with mltraq.create_session(url, files=tmp_path / "file" / "x") as session:
        with pytest.raises(StoreError, match="cannot be written"):
            kept(session)
        assert not session.ls()["name"].tolist()
