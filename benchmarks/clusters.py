"""What passes through the process of the flow when workers of a cluster make large results.

Each execution is in a fresh process, on a Dask cluster of two others. Needs the extra ``dask``, and
Linux. Run as ``python -m benchmarks clusters``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np

import mltraq_prefect as mltraq
from benchmarks.memory import peak
from benchmarks.report import Line, Table
from benchmarks.runs import sqlite_url
from mltraq_prefect.model.run import Run

RUNS = 20
MEGABYTES = 50

MOST_RUNS = 2.0
"""Budget: as many runs may be in the process of the flow at once, in bytes."""


def tables(quick: bool) -> Iterator[Table]:
    """Yield the table; `quick` executes fewer runs."""
    count = 4 if quick else RUNS
    lines = [line(count, kind, checkpoint) for kind in ("field", "file") for checkpoint in (1, 0)]
    title = (
        f"{count} runs of {MEGABYTES} MB on Dask: MiB that the process of the flow grows by; "
        "the ratio is to the bytes of a run"
    )
    yield Table(title, ("results", "adds"), lines)


def line(count: int, kind: str, checkpoint: int) -> Line:
    with sqlite_url() as url:
        command = [sys.executable, "-m", "benchmarks.clusters", url, kind, str(count)]
        done = subprocess.run(
            [*command, str(checkpoint)],
            env=os.environ | {"PREFECT_LOGGING_LEVEL": "CRITICAL"},
            stdout=subprocess.PIPE,
            check=True,
        )
    added = json.loads(done.stdout.splitlines()[-1])
    ratio = added * 1024 / (MEGABYTES * 1e6)
    cells = f"a {kind}{', checkpointed' if checkpoint else ''}", f"{added / 1024:,.0f}"
    return Line(cells, ratio, *((MOST_RUNS, "speed.md") if checkpoint else ()))


def make(run: Run) -> None:
    values = np.full(run.kwargs.megabytes * 125_000, run.params.N, float)
    if run.kwargs.kind == "field":
        run.fields.values = values
    else:
        run.files["values.bin"] = memoryview(values).cast("B")


def main(url: str, kind: str, count: int, checkpoint: int) -> None:
    from distributed import LocalCluster
    from prefect.testing.utilities import prefect_test_harness
    from prefect_dask import DaskTaskRunner

    with (
        prefect_test_harness(120),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        mltraq.create_session(url) as session,
    ):
        runner = DaskTaskRunner(address=cluster.scheduler_address)
        options = {"task_runner": runner, "runs_per_task": 1, "checkpoint": bool(checkpoint)}
        kwargs = {"kind": kind, "megabytes": 0}
        session.add_experiment("warm").add_runs(N=range(4)).execute(make, kwargs, **options)
        before = peak()
        experiment = session.add_experiment("large").add_runs(N=range(count))
        experiment.execute(make, kwargs | {"megabytes": MEGABYTES}, **options)
        print(json.dumps(peak() - before))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
