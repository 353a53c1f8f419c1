"""Whole programs, each in a process of its own, without any configuration."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAMS = Path(__file__).parent.parent / "programs"


def run(program, home):
    """Run a program as a user would: no server, no variable of ours or of Prefect's set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLTRAQ_"))}
    return subprocess.run(
        [sys.executable, PROGRAMS / program],
        env=kept | {"HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def after_the_line_on_memory(done):
    """Return what a program wrote to stderr after the line that its database is in memory."""
    first, _, rest = done.stderr.partition("\n")
    assert "it is in memory, and gone when the program ends" in first
    return rest


def test_the_storage_chapters_program_on_fields(tmp_path):
    done = run("storage_chapter_fields.py", tmp_path)
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["n", "error"]
    errors = {int(n): float(error) for n, error in map(str.split, rows)}
    assert list(errors) == [1, 25, 50, 100]
    exact = {1: 0.32, 25: 0.0627248, 50: 0.0447421, 100: 0.0317761}
    for n, error in errors.items():
        # Four standard errors: the error of one toss has a deviation below its mean's 0.8.
        assert abs(error - exact[n]) < 4 * 0.8 * exact[n] / 200**0.5
    assert "mltraq" not in after_the_line_on_memory(done).replace("mltraq-execute", "")


def test_the_storage_chapters_program_on_pickles(tmp_path):
    done = run("storage_chapter_pickle.py", tmp_path)
    assert (done.returncode, done.stdout) == (0, "123\n")
    assert after_the_line_on_memory(done) == ""
