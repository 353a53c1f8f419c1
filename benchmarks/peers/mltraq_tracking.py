"""MLTRAQ on the tracking workloads, given as ``RUNSxVALUES``: seconds of each."""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial

import mltraq

from benchmarks.report import WALL, fastest, repeats_for


def main(workloads: list[str]) -> None:
    track(1, 1)
    seconds = []
    for workload in workloads:
        size = [*map(int, workload.split("x"))]
        seconds += fastest(partial(track, *size), repeats=repeats_for(*size), clock=WALL)
    print(json.dumps(seconds))


def track(runs: int, values: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        session = mltraq.create_session(f"sqlite:///{directory}/bench.db")
        experiment = session.create_experiment("bench")
        for _ in range(runs):
            with experiment.run() as run:
                run.fields.metric = []
                for i in range(values):
                    run.fields.metric.append(i / 7)
        experiment.persist()


if __name__ == "__main__":
    main(sys.argv[1:])
