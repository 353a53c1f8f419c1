"""Worker processes that cannot be started are refused in one sentence, and never without end."""

import os
import subprocess
import sys

import pytest
from prefect.settings import PREFECT_API_URL

from tests.ways import both_ways, in_both_ways, plainly

MOST_STARTS = 5

SWEEP = f"""
import os, sys
import mltraq_prefect as mltraq

with open("starts", "a") as starts:
    starts.write("x")
if os.stat("starts").st_size > {MOST_STARTS}:
    os._exit(9)  # the test fails; the machine lives

def step(run):
    run.fields.x = run.params.N

experiment = mltraq.create_session().add_experiment("unguarded").add_runs(N=[1, 2])
"""


def executed(folder, *command):
    """Execute a command in a folder; return the completed process."""
    settings = {"PYTHONPATH": os.getcwd(), "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | settings,
        timeout=300,
        capture_output=True,
        text=True,
    )


def starts(folder):
    return (folder / "starts").stat().st_size


PLAIN = "experiment.execute(step, n_jobs=1)"
CAUGHT = f"""
try:
    {PLAIN}
except Exception as error:
    sys.exit(f"caught {{error}}")
"""
RETRIED = "experiment.execute(step, n_jobs=1, retries=2)"

CALLS = {"plain": PLAIN, "caught": CAUGHT, "retried": RETRIED}


@both_ways("name", CALLS, with_task_runs=["retried"])
def test_a_module_that_executes_itself_when_it_is_imported_is_refused(tmp_path, name):
    (tmp_path / "sweep.py").write_text(SWEEP + CALLS[name])
    done = executed(tmp_path, sys.executable, "-c", "import sweep")
    assert done.returncode == 1
    assert "The experiment 'unguarded' is executed by a module that a worker" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
    assert starts(tmp_path) == 2


@in_both_ways
def test_an_application_in_place_of_the_interpreter_is_started_once(tmp_path):
    """Its workers would be the application again."""
    application = tmp_path / "application"
    text = f"sys.executable = {str(application)!r}\n{PLAIN}"
    application.write_text(f"#!{sys.executable}\n{SWEEP}{text}")
    application.chmod(0o755)
    done = executed(tmp_path, application)
    assert "no worker process could start" in done.stderr
    assert f"{application}, should be a Python interpreter, and ended with code 1" in done.stderr
    assert starts(tmp_path) == 2


@plainly
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("sys.frozen = True", "a frozen application cannot start worker processes"),
        ("sys.executable = None", "worker processes need a Python interpreter, and sys.exec"),
        ("sys.executable = ''", "sys.executable is ''; set it to the path of one"),
    ],
)
def test_programs_that_cannot_start_workers_are_told_what_to_use(tmp_path, given, told):
    (tmp_path / "sweep.py").write_text(f"{SWEEP}{given}\n{PLAIN}")
    done = executed(tmp_path, sys.executable, "sweep.py")
    assert done.returncode == 1
    assert f"InvalidInput: {told}" in done.stderr or told in done.stderr.splitlines()[-1]
    assert 'use backend="threads" or backend="local"' in done.stderr.splitlines()[-1]
    assert starts(tmp_path) == 1
