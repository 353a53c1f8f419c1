"""Programs of their own: steps that only `__main__` has, and the bar in a terminal."""

import json
import os
import pty
import re
import subprocess
import sys

from prefect.settings import PREFECT_API_URL

from tests.ways import in_both_ways


def start(module, **options):
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or "", "COLUMNS": "120"}
    return subprocess.Popen([sys.executable, "-m", module], env=environment, **options)


@in_both_ways
def test_functions_and_classes_of_main_and_of_a_notebooks_cells():
    output, _ = start("tests.execution.main_module", stdout=-1).communicate(timeout=300)
    assert json.loads(output.splitlines()[-1]) == [
        {"helped": 11, "scaled": 3, "seen": 1, "powered": 1, "cell": 11},
        {"helped": 12, "scaled": 6, "seen": 1, "powered": 4, "cell": 12},
    ]


@in_both_ways
def test_a_terminal_has_a_bar_that_is_not_drawn_for_every_run():
    parent, terminal = pty.openpty()
    process = start("tests.execution.shown", stdout=subprocess.DEVNULL, stderr=terminal)
    os.close(terminal)
    text = read_all(parent)
    assert process.wait(180) == 0
    frames = re.findall(r"([\d,]+) of 2,000 runs completed(?:, 1 failed)?", text)
    assert frames[-1] == "1,999"
    assert "1,999 of 2,000 runs completed, 1 failed" in text
    assert len(frames) < 500


def read_all(descriptor):
    """Read until the other end of a terminal is closed."""
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return b"".join(chunks).decode(errors="replace")
        chunks.append(chunk)
