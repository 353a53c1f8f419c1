"""Files that steps set and read, in each backend; and what becomes of them when steps fail."""

import subprocess
import sys
from pathlib import Path

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.model.spool import own_spool, remove_abandoned
from mltraq_prefect.storage.tables.files import FILE_BYTES
from tests import ways
from tests.steps_of_files import (
    PADDING,
    begin,
    die,
    evaluate,
    fail_first,
    keep,
    model_of,
    overflow,
    refuse,
    talk,
)

BACKENDS = ("processes", "threads", "local")


def spooled():
    """Return the contents that are on this machine, and belong to runs in memory."""
    return [*Path(own_spool().folder, "contents").glob("*")]


@ways.both_ways("backend", BACKENDS, with_task_runs=["processes"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_steps_set_and_read_files(session, backend, checkpoint):
    before = len(spooled())
    options = {"backend": backend, "checkpoint": checkpoint}
    experiment = session.add_experiment("x").add_runs(x=[1, 2, 3])
    experiment.execute(steps=keep, **options).persist("merge")
    experiment = session.load("x")
    experiment.execute(steps=evaluate, **options).persist("merge")
    for x, run in zip((1, 2, 3), session.load("x").runs.values(), strict=True):
        assert run.fields.first == x
        assert list(run.files) == ["model.bin", "notes/same.txt", "score.txt"]
        assert run.files["model.bin"].path().read_bytes() == model_of(x)
        assert run.files["score.txt"].path().read_bytes() == str(x).encode()
    if checkpoint:  # then the database has them alone
        assert len(spooled()) == before


@ways.plainly
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_retry_begins_with_the_files_before_and_drops_those_of_the_failure(
    session, backend, tmp_path
):
    experiment = session.add_experiment("x").add_runs(x=[1, 2])
    kwargs = {"folder": str(tmp_path)}
    steps = [begin, fail_first]
    experiment.execute(steps=steps, kwargs=kwargs, backend=backend, retries=1, checkpoint=True)
    for run in session.load("x").runs.values():
        found = {name: file.path().read_bytes() for name, file in run.files.items()}
        assert found == {"begun": b"and once more", "attempt": b"2"}


HOSTILE = {
    "../outside": "leads out of its folder",
    "a/../../b": "leads out of its folder",
    "/etc/passwd": "is an absolute path",
    "C:/x": "is an absolute path",
    "a\\b": "has a backslash",
    "a\nb": "control character",
    "\0": "control character",
    "": "is empty",
    "a//b": "has an empty part",
    "./a": "one that is a dot",
    "é" * 121: "has 242 bytes",
    3: "is of type int",
}


@ways.plainly
@pytest.mark.parametrize("backend", ["processes", "local"])
def test_a_run_with_a_bad_file_fails_alone_and_leaves_nothing(session, backend, tmp_path):
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("rb+") as file:
        file.truncate(FILE_BYTES + 1)  # sparse: takes no room
    bad = {
        "no such file": (str(tmp_path / "none"), "cannot be read: No such file"),
        "a folder": (str(tmp_path), "is a directory"),
        "a device": ("/dev/zero", "no regular file"),
        "too large": (str(tmp_path / "large"), "a database takes files of up to 268,435,456"),
        "a number": (3, "is of type int; give bytes, or the path"),
        "a NUL": ("\0", "cannot be read"),
    }
    before = len(spooled())
    experiment = session.add_experiment("x")
    for name, (value, _) in bad.items():
        experiment.add_run(name=name, value=value)
    for name in HOSTILE:
        experiment.add_run(name=name, value=b"x")
    experiment.add_run(name="fine too", value=b"z")
    with pytest.raises(mltraq.InvalidInput, match="lone surrogate"):
        experiment.runs.first().files["\ud800"] = b"x"
    experiment.execute(steps=refuse, backend=backend, checkpoint=True, on_error="keep")
    with pytest.raises(mltraq.RunsFailed, match=f"{len(bad) + len(HOSTILE)} of"):
        experiment.persist("merge")
    for run in session.load("x").runs.values():
        if run.params.name == "fine too":
            assert list(run.files) == ["fine", "fine too"]
            continue
        assert not run.files
        said = bad[run.params.name][1] if run.params.name in bad else HOSTILE[run.params.name]
        assert said in run.ledger.error
        assert run.ledger.error.splitlines()[-1].count("run.files") == 1
    assert len(spooled()) == before


@ways.plainly
@pytest.mark.parametrize("backend", ["processes", "local"])
def test_a_run_whose_file_does_not_fit_on_the_disk_fails_alone(session, backend):
    before = len(spooled())
    experiment = session.add_experiment("x").add_runs(room=[1_500_000, 2_500_000])
    with pytest.raises(mltraq.RunsFailed, match="1 of 2 runs failed"):
        experiment.execute(steps=overflow, backend=backend, checkpoint=True)
    first, second = session.load("x").runs.values()
    assert "StorageFull: file 'large.bin' of 2,000,000 bytes does not fit" in first.ledger.error
    assert (list(first.files), list(second.files)) == ([], ["fine", "large.bin"])
    assert len(spooled()) == before


@ways.plainly
def test_a_killed_worker_leaves_no_file(session):
    before = spooled()
    experiment = session.add_experiment("x").add_runs(x=[1, 2])
    with pytest.raises(mltraq.RunsFailed):
        experiment.execute(steps=[keep, die], backend="processes", checkpoint=True, keep_logs=True)
    for run in session.load("x").runs.values():
        assert list(run.files) == ["logs/die.txt", "logs/keep.txt"]
        log = run.files["logs/die.txt"].path().read_text()
        assert "the last words of " in log
        assert "ended by SIGKILL" in log
    assert {*spooled()} == {*before}


@ways.both_ways("backend", BACKENDS, with_task_runs=["processes", "threads"])
def test_logs_of_each_step_are_kept(session, backend):
    experiment = session.add_experiment("x").add_runs(x=[1, 2])
    options = {"backend": backend, "keep_logs": True, "on_error": "keep", "checkpoint": True}
    experiment.execute(steps=[talk, keep], retries=1, **options)
    first, second = session.load("x").runs.values()
    log = first.files["logs/talk.txt"].path().read_text()
    lines = [line.partition(" ")[2].partition(" ")[2] for line in log.splitlines()]
    assert lines[:3] == ["talk, attempt 1", "hello 1", "WARNING careful 1"]
    assert lines[-2:] == [f"line 19999 {PADDING}", "the end"]
    assert "lines were left out" in log
    assert len(log) < 1_100_000
    assert "logs/keep.txt" in first.files
    assert list(second.files) == ["logs/talk.txt"]
    log = second.files["logs/talk.txt"].path().read_text()
    assert [line for line in log.splitlines() if "attempt" in line] == [
        "-- step talk, attempt 1",
        "-- step talk, attempt 2",
    ]
    assert log.count("ERROR no y\nTraceback (most") == log.count("\nKeyError: 'y'") == 2
    assert log.count("hello 2") == log.count("ValueError: two is bad") == 2


def test_a_large_file_is_never_whole_in_memory(tmp_path):
    """A file of 200 MB goes into a database, and comes back, in pieces."""
    program = tmp_path / "program.py"
    program.write_text(LARGE)
    subprocess.run([sys.executable, program], cwd=tmp_path, check=True)


LARGE = """
import resource
from pathlib import Path

import mltraq_prefect as mltraq

SIZE = 200_000_000


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


with open("large.bin", "wb") as file:
    for number in range(200):
        file.write(number.to_bytes(1) * 1_000_000)
with mltraq.create_session("sqlite:///large.db") as session:
    with session.add_experiment("small").run() as run:
        run.files["small"] = bytes(3_000_000)
    session.load  # what comes with the first use is there
    experiment = session.add_experiment("large")
    before = peak()
    with experiment.run() as run:
        run.files["large.bin"] = "large.bin"
    experiment.persist()
    stored = session.load("large").runs.first().files["large.bin"]
    assert stored.path().stat().st_size == SIZE
    assert peak() - before < SIZE / 3, peak() - before
"""


def test_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    program = (
        "import os, signal; from mltraq_prefect.model.spool import own_spool; "
        "own_spool().put('x', b'x', None); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert len([*tmp_path.glob("mltraq-files-*/contents/*")]) == 1
    assert remove_abandoned() == 1
    assert not [*tmp_path.glob("mltraq-files-*")]
    program = (
        "import sys; from mltraq_prefect.model.spool import own_spool; "
        "print(own_spool().folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        folder = Path(process.stdout.readline().strip())
        assert remove_abandoned() == 0
        assert folder.is_dir()
        process.communicate("")
    assert not folder.exists()
