"""The first result: a script that executes ten runs, with no Prefect server anywhere.

It is measured from the start of the interpreter to its end, with a home that holds nothing. Beside
it the same script imports Prefect, which it would need to make a flow run, and ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial

from benchmarks import peers
from benchmarks.report import WALL, Line, Table, fastest, in_seconds

ALLOWED_SECONDS = 5.0

SCRIPT = """
import sys
import mltraq_prefect as mltraq

def draw(run):
    run.fields.x = float(run.rng.random())

def double(run):
    run.fields.y = 2 * run.fields.x

session = mltraq.create_session("sqlite:///ten.db")
experiment = session.add_experiment("ten").add_runs(N=range(10))
experiment.execute([draw, double]).persist("replace")
assert len(session.query("SELECT y FROM e_ten")) == 10
assert "prefect" not in sys.modules
"""

IMPORT = "import mltraq_prefect.orchestration.api"


def tables(quick: bool) -> Iterator[Table]:
    """Yield the table; `quick` measures once."""
    with tempfile.TemporaryDirectory() as home:
        calls = (partial(run, SCRIPT, home), partial(run, IMPORT, home))
        took, alone = fastest(*calls, repeats=1 if quick else 5, clock=WALL)
    cells = ("10 runs, 2 steps, SQLite", in_seconds(took), in_seconds(alone))
    headings = ("script", "start to end", "import of Prefect alone")
    title = f"First result without a server; the ratio is to {ALLOWED_SECONDS:g} s"
    yield Table(title, headings, [Line(cells, took / ALLOWED_SECONDS, 1.0, "README")])


def run(script: str, home: str) -> None:
    """Run a script as somebody does who has configured nothing."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("PREFECT", "MLTRAQ"))}
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=home,
        env=kept | {"HOME": home, "PYTHONPATH": str(peers.ROOT)},
        stderr=subprocess.DEVNULL,
        check=True,
    )
