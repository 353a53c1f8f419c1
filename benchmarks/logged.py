"""A checkpointed sweep whose runs log rows, in a fresh process, and what it takes.

That is seconds, those of the processor in the flow's process and in steps, and KiB of peak memory.

``python -m benchmarks.logged URL RUNS ROWS PAUSE``: each run makes so many rows, and pauses for so
many seconds after each; with a minus before the number nothing is logged. Linux only.
"""

from __future__ import annotations

import json
import sys
import time

import mltraq_prefect as mltraq
from benchmarks.memory import peak
from benchmarks.steps import log_rows

WORKERS = 2


def main(url: str, runs: int, rows: int, pause: float) -> None:
    with mltraq.create_session(url) as session:
        options = {"checkpoint": True, "n_jobs": WORKERS}
        kwargs = {"rows": abs(rows), "logs": rows > 0, "pause": pause}
        warm = session.add_experiment("warm").add_runs(N=range(10 * WORKERS))
        warm.execute(log_rows, kwargs | {"rows": 1}, **options)
        experiment = session.add_experiment("logged").add_runs(N=range(runs))
        before = peak()
        worked = time.process_time()
        start = time.perf_counter()
        experiment.execute(log_rows, kwargs, **options)
        found = {"seconds": time.perf_counter() - start, "added": peak() - before}
        found["flow"] = time.process_time() - worked
        found["steps"] = sum(run.ledger.cpu_s or 0.0 for run in experiment.runs.values())
        print(json.dumps(found))


if __name__ == "__main__":
    url, *numbers = sys.argv[1:]
    main(url, int(numbers[0]), int(numbers[1]), float(numbers[2]))
