"""MLTRAQ on runs of ten scalar fields, on SQLite: seconds to persist and to load them."""

from __future__ import annotations

import json
import sys
import tempfile
import time

import mltraq
import numpy as np

FIELDS = ("loss", "accuracy", "precision", "recall", "auc", "epoch", "batches", "parameters")


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        session = mltraq.create_session(f"sqlite:///{directory}/bench.db")
        experiment = session.create_experiment("bench")
        fill(experiment, count)
        start = time.perf_counter()
        experiment.persist()
        persisted = time.perf_counter()
        session.load_experiment("bench")
        print(json.dumps([persisted - start, time.perf_counter() - persisted]))


def fill(experiment: mltraq.Experiment, count: int) -> None:
    rng = np.random.default_rng(0)
    floats, ints = rng.random((count, 5)).tolist(), rng.integers(0, 10**6, (count, 3)).tolist()
    for i in range(count):
        with experiment.run() as run:
            for name, value in zip(FIELDS, floats[i] + ints[i], strict=True):
                run.fields[name] = value
            run.fields.optimizer = f"adam {i % 7}"
            run.fields.converged = i % 2 == 0


if __name__ == "__main__":
    main(int(sys.argv[1]))
