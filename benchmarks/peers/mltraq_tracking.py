"""MLTRAQ on the tracking workloads, given as ``RUNSxVALUES``: seconds of each."""

from __future__ import annotations

import json
import sys
import tempfile

import mltraq

from benchmarks.report import WALL, fastest


def main(workloads: list[str]) -> None:
    sizes = [tuple(map(int, workload.split("x"))) for workload in workloads]
    track(1, 1)
    seconds = [fastest(lambda: track(*size), repeats=3, clock=WALL)[0] for size in sizes]  # noqa: B023
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
