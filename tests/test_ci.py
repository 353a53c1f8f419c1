"""What continuous integration runs, which is not in the source distribution."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_ci_runs_all_that_make_check_does_and_the_quick_matrix():
    run = (ROOT / ".ci" / "run").read_text()
    (check,) = re.findall(r"^check: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = {
        target for line in re.findall(r"^ *make (.*)", run, re.MULTILINE) for target in line.split()
    }
    assert {*check.split(), "demo", "matrix-quick"} <= made
