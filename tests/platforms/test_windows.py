"""On Windows, where there is no fork: what works, and what is said of the rest."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

ROOT = Path(__file__).parents[2]
(PROGRAM,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
PROGRAMS = ROOT / "tests" / "programs"

IMPORTS = """
import importlib, pkgutil, mltraq_prefect
for module in pkgutil.walk_packages(mltraq_prefect.__path__, "mltraq_prefect."):
    if not module.name.endswith((".__main__", ".fork_server_main")):
        importlib.import_module(module.name)
print("imported")
import mltraq_prefect.execution.pool.fork_server_main
"""

ROWS = ["1", "25", "50", "100"]
THREADS = "there are no worker processes on this system"


def rows(done):
    """Return the first column of the table that a program has printed."""
    return [line.split()[1] for line in done.stdout.splitlines()[1:]]


@pytest.fixture
def run(tmp_path):
    """Run Python as on Windows."""
    own = [str(Path(__file__).parent / "windows"), str(ROOT)]
    variables = {
        "PYTHONPATH": os.pathsep.join(own),
        "PYTHONWARNDEFAULTENCODING": "1",
    }

    def run(*arguments, folder=tmp_path, **more):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=os.environ | variables | more,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_the_simulation_has_no_fork(run):
    done = run("-c", "from mltraq_prefect.execution.pool import preparation as p; p.os.fork")
    assert done.stderr.endswith("module 'os' has no attribute 'fork' on Windows\n")


def test_each_module_can_be_imported_but_the_program_that_forks_workers(run):
    done = run("-c", IMPORTS)
    assert done.stdout == "imported\n", done.stderr
    assert done.stderr.endswith("module 'signal' has no attribute 'SIGKILL' on Windows\n")


@pytest.mark.parametrize("backend", ["threads", "local"])
def test_the_program_of_the_readme(run, tmp_path, backend):
    (tmp_path / "program.py").write_text(
        PROGRAM.replace("execute(", f"execute(backend={backend!r}, ")
    )
    done = run("program.py")
    assert (done.returncode, rows(done)) == (0, ROWS), done.stderr
    assert THREADS not in done.stderr


def test_the_program_of_the_readme_without_a_backend_says_that_it_uses_threads(run, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run("program.py")
    assert (done.returncode, rows(done)) == (0, ROWS), done.stderr
    assert done.stderr.count(THREADS) == 1

    done = run("-m", "mltraq_prefect", "--database", "sqlite:///tosses.db", "ls")
    assert done.returncode == 0, done.stderr
    assert "tosses" in done.stdout


def test_the_program_of_the_readme_with_a_server(run, tmp_path, prefect_server):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run("program.py", PREFECT_API_URL=PREFECT_API_URL.value())
    assert (done.returncode, rows(done)) == (0, ROWS), done.stderr
    assert "without it" not in done.stderr


@pytest.mark.parametrize("name", ["storage_chapter_fields.py", "storage_chapter_pickle.py"])
def test_a_program_of_the_storage_chapter(run, name):
    done = run(PROGRAMS / name)
    assert done.returncode == 0, done.stderr


def test_worker_processes_are_refused_in_one_sentence(run, tmp_path):
    program = PROGRAM.replace("execute(", 'execute(backend="processes", ')
    (tmp_path / "program.py").write_text(program)
    done = run("program.py")
    assert done.returncode == 1
    assert rows(done) == []
    sentence = 'worker processes need a POSIX system; use backend="threads" or backend="local"'
    assert done.stderr.splitlines()[-1].endswith(sentence)


@pytest.fixture
def short_folder():
    """A folder whose path leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="mltraq-") as folder:
        yield Path(folder)


def test_tests_that_need_no_worker_processes_pass(run, short_folder):
    files = (
        "contract/test_files.py::test_they_go_wherever_their_run_goes[sqlite-file]",
        "execution/test_files.py::test_steps_set_and_read_files[True-plain-threads]",
    )
    reports = (f"reports/test_{name}.py" for name in ("study", "summary", "compare"))
    stale = "checkpoints/test_stale.py"
    tests = ("test_cli.py", "test_session.py", "model", *reports, stale, *files)
    impossible = "tests/test_session.py::test_a_file_that_is_deleted_under_an_open_session"
    simulated = "tests/reports/test_compare.py::test_intervals_cover_what_is_true"
    done = run(
        *("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
        *("--deselect", impossible, "--deselect", simulated),
        *(ROOT / "tests" / name for name in tests),
        folder=ROOT,
        TMPDIR=str(short_folder),
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert [*short_folder.glob("mltraq-files-*/*")] == []
