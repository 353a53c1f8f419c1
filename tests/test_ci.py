"""What continuous integration runs, which is not in the source distribution."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.polling import poll
from tests.processes import alive

ROOT = Path(__file__).parent.parent

MAKEFILE = """\
demo lint types contracts:

matrix-quick:
\t@sleep 600 & echo $$! > $@.pid; trap 'echo $@ >> told; exit 1' INT; wait

test:
\t@sleep 600 & echo $$! > $@.pid; trap 'echo $@ >> told; exit 1' INT; {then}
"""
"""Targets that go on, as tests do, and leave a process behind that ignores Ctrl-C."""


def test_ci_runs_all_that_make_check_does_and_the_quick_matrix():
    run = (ROOT / ".ci" / "run").read_text()
    (check,) = re.findall(r"^check: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = {
        target
        for line in re.findall(r"^ *(?:run )?make (.*)", run, re.MULTILINE)
        for target in line.split()
    }
    assert {*check.split(), "demo", "matrix-quick"} <= made


@pytest.fixture
def start(tmp_path):
    """Return what starts CI in a folder with such targets, where nothing is installed."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    apt = tmp_path / "programs" / "apt-get"
    apt.parent.mkdir()
    apt.write_text("#!/bin/sh\n")
    apt.chmod(0o755)
    path = f"{apt.parent}{os.pathsep}{os.environ['PATH']}"

    def start(then):
        (tmp_path / "Makefile").write_text(MAKEFILE.replace("{then}", then))
        return subprocess.Popen([tmp_path / ".ci" / "run"], env=os.environ | {"PATH": path})

    return start


def left_behind(folder):
    return [int(path.read_text() or 0) for path in folder.glob("*.pid")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_ci_has_started_ends_with_it(start, tmp_path, number):
    with start("wait") as run:
        pids = poll(lambda: left_behind(tmp_path), lambda found: len(found) == 2 and all(found))
        assert alive(pids) == pids
        run.send_signal(number)
    assert run.returncode == 128 + number
    assert alive(pids) == []
    assert sorted((tmp_path / "told").read_text().split()) == ["matrix-quick", "test"]


def test_where_tests_fail_the_rest_of_ci_ends(start, tmp_path):
    with start("until [ -s matrix-quick.pid ]; do sleep 0.1; done; exit 3") as run:
        pass
    assert run.returncode == 2
    assert len(left_behind(tmp_path)) == 2
    assert alive(left_behind(tmp_path)) == []
    assert (tmp_path / "told").read_text().split() == ["matrix-quick"]
