"""What git, the program and Prefect say of an execution; what they do not say is left out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect import flow

import mltraq_prefect as mltraq
from mltraq_prefect.provenance import git
from tests.polling import poll
from tests.processes import is_alive
from tests.provenance.test_secrets import git as run_git

ROOT = Path(__file__).parent.parent.parent

LONG = 60
"""Git is waited for so long, in seconds: a busy machine takes longer than an execution waits."""

PROGRAM = """
import sys
import mltraq_prefect as mltraq

def train(run):
    run.fields.y = run.params.x

with mltraq.create_session(sys.argv[1]) as session:
    session.add_experiment("study").add_runs(x=[1]).execute(train, backend="local").persist()
"""


def execute(folder, url, **environment):
    """Run the program in a folder; return what is known of its execution."""
    command = [sys.executable, str(folder / "study.py"), url]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    subprocess.run(command, cwd=folder, env=variables, check=True)
    with mltraq.create_session(url) as session:
        experiment = session.load("study")
        (row,) = experiment.executions.to_dict("records") or [None]
        assert experiment.runs.first().fields.y == 1
        return row


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    run_git(folder, "init", "-q", "-b", "main")
    (folder / "study.py").write_text(PROGRAM)
    return folder


def test_a_commit_and_what_was_changed_since(folder, tmp_path):
    (folder / "other.txt").write_text("one\n")
    run_git(folder, "add", "other.txt")
    run_git(folder, "commit", "-qm", "first")
    found = git.facts_of(folder, folder / "study.py", LONG)
    assert found["git_commit"] == run_git(folder, "rev-parse", "HEAD")
    assert (found["git_branch"], found["git_dirty"]) == ("main", True)
    assert found["git_diff"] == "# not in git: study.py\n"
    run_git(folder, "add", "study.py")
    run_git(folder, "commit", "-qm", "second")
    found = git.facts_of(folder, folder / "study.py", LONG)
    assert (found["git_dirty"], found["git_diff"]) == (False, None)
    (folder / "other.txt").write_text("two\n" * 200_000)
    found = git.facts_of(folder / "..", folder / "study.py", LONG)
    assert found == {}
    found = git.facts_of(folder, folder / "study.py", LONG)
    assert found["git_dirty"]
    assert len(found["git_diff"]) <= git.MOST_DIFF + 20
    assert found["git_diff"].endswith("+two\n# and more\n")
    run_git(folder, "checkout", "-q", "--detach")
    assert git.facts_of(folder, None, LONG)["git_branch"] is None


def test_without_git_or_time_or_a_sound_repository_facts_are_left_out(folder, tmp_path):
    assert git.facts_of(folder, None, LONG) == {}  # there is no commit yet
    (folder / ".git" / "HEAD").write_text("nonsense")
    row = execute(folder, f"sqlite:///{tmp_path}/broken.db")
    assert (row["git_commit"], row["git_dirty"]) == (None, None)
    assert row["script"] == str(folder / "study.py")
    row = execute(folder, f"sqlite:///{tmp_path}/none.db", PATH="/nowhere")
    assert (row["git_commit"], row["host"] is not None) == (None, True)
    assert git.facts_of(ROOT, None, seconds=0) == {}


def test_a_folder_that_is_gone_is_no_obstacle(folder, tmp_path):
    gone = PROGRAM.replace(
        "with mltraq", "import os, shutil; shutil.rmtree(os.getcwd())\nwith mltraq"
    )
    (folder / "study.py").write_text(gone)
    row = execute(folder, f"sqlite:///{tmp_path}/x.db")
    assert row["git_commit"] is None
    assert row["cpu"]


def test_a_git_that_hangs_is_ended(folder, tmp_path, monkeypatch):
    hanging = tmp_path / "bin" / "git"
    hanging.parent.mkdir()
    hanging.write_text("#!/bin/sh\nsleep 1000 &\necho $! >> $0.pids\nwait\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hanging.parent}{os.pathsep}{os.environ['PATH']}")
    assert git.facts_of(folder, None, seconds=5) == {}
    for pid in (tmp_path / "bin" / "git.pids").read_text().split():
        assert not poll(lambda pid=pid: is_alive(int(pid)), lambda alive: not alive)


@pytest.mark.parametrize(("setting", "known"), [("on", True), ("anonymous", False), ("off", None)])
def test_the_setting(folder, tmp_path, setting, known):
    row = execute(folder, f"sqlite:///{tmp_path}/x.db", MLTRAQ_PROVENANCE=setting)
    if known is None:
        assert row is None
        return
    assert (row["host"] is not None, row["user_name"] is not None) == (known, known)
    assert row["python"].endswith(sys.version.split()[0])
    assert row["cpu"]


def test_other_settings_are_refused(monkeypatch):
    for wrong in ("yes", 1, ""):
        with pytest.raises(mltraq.InvalidInput, match=r"provenance is .*; use 'on', 'anonymous'"):
            mltraq.create_session("sqlite://", provenance=wrong)
    monkeypatch.setenv("MLTRAQ_PROVENANCE", "never")
    with pytest.raises(mltraq.InvalidInput, match="MLTRAQ_PROVENANCE is 'never'"):
        mltraq.create_session("sqlite://")
    with mltraq.create_session("sqlite://", provenance=False) as session:
        experiment = session.add_experiment("e").add_runs(x=[1])
        experiment.execute(lambda run: None, backend="local")
        assert experiment.runs.first().ledger.id_execution is None
        assert len(experiment.executions) == 0


def test_runs_that_are_tracked_by_hand(tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as session:
        experiment = session.add_experiment("e")
        for x in (1, 2):
            with experiment.run(x=x) as run:
                run.fields.y = x
        experiment.persist()
        loaded = session.load("e")
        (execution,) = map(loaded.execution, loaded.executions.index)
        found = {run.ledger.id_execution for run in loaded.runs.values()}
        assert found == {execution.id_execution}
        assert "by hand" in execution.describe()
        assert loaded.delete_runs("x = 1") == 1
        assert len(loaded.executions) == 1
        assert session.load("e").copy("f").persist().executions.index[0] == execution.id_execution


def keep(run):
    run.fields.y = 1


def test_a_flow_and_its_run(tmp_path, prefect_server):
    url = f"sqlite:///{tmp_path}/x.db"

    @flow(name="generate")
    def generate():
        with mltraq.create_session(url) as session:
            session.add_experiment("study").add_runs(x=[1]).execute(keep).persist()

    state = generate(return_state=True)
    with mltraq.create_session(url) as session:
        experiment = session.load("study")
        (row,) = experiment.executions.to_dict("records")
        run = experiment.runs.first()
    assert row["flow_run_id"] == str(state.state_details.flow_run_id) == run.ledger.flow_run_id
    assert (row["flow"], row["deployment"], row["deployment_id"]) == ("generate", None, None)
    assert row["script"] == "tests/provenance/test_facts.py"


def test_a_notebook_without_a_name(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import mltraq_prefect as mltraq, json",
        "def train(run):\n    run.fields.y = run.params.x",
        f"session = mltraq.create_session('sqlite:///{tmp_path}/x.db')\n"
        "experiment = session.add_experiment('study').add_runs(x=[1])\n"
        "_ = experiment.execute(train, backend='local').persist()",
        "row = experiment.executions.iloc[0]\n"
        "print(json.dumps([row.script, row.command, experiment.source('train')]))",
    ]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)))
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "", "language": "python"}
    options = {"timeout": 300, "startup_timeout": 300}
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, resources=resources, **options).execute()
    script, command, source = json.loads(notebook.cells[-1].outputs[0].text)
    assert (script, command) == (None, None)
    assert "def train(run):\n    run.fields.y = run.params.x" in source
