"""One execution of many runs in a fresh process: its seconds, and KiB of peak memory.

``python -m benchmarks.sweep URL RUNS``; with a URL it is checkpointed there. Linux only.
"""

from __future__ import annotations

import json
import sys
import time

import mltraq_prefect as mltraq
from benchmarks.memory import peak
from benchmarks.steps import compute, increment

KWARGS = {"seconds": 0.0}


def main(url: str, count: int) -> None:
    define(url, "warm", 100).execute([compute, increment], KWARGS, checkpoint=bool(url))
    at_start = peak()
    experiment = define(url, "sweep", count)
    before = peak()
    start = time.perf_counter()
    experiment.execute([compute, increment], KWARGS, checkpoint=bool(url))
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "before": before - at_start, "added": peak() - before}))


def define(url: str, name: str, count: int) -> mltraq.Experiment:
    return mltraq.create_session(url or "sqlite://").add_experiment(name).add_runs(N=range(count))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
