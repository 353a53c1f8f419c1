"""MLTRAQ on joblib's processes, on workloads given as ``RUNSxMILLISECONDS``: seconds of each.

They are measured warm: joblib keeps its processes, which have imported all before. There is one a
core, as everywhere: by default there would be twice as many here, and a larger share of a machine
that does other things as well.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import mltraq

from benchmarks.report import WALL, fastest
from benchmarks.work import CORES, busy, parsed, repeats_of


def compute(run: Any) -> None:
    busy(run.config.seconds)
    run.fields.x = run.params.N


def increment(run: Any) -> None:
    run.fields.y = run.fields.x + 1


def main(workloads: list[str]) -> None:
    mltraq.options().set("tqdm.disable", True)
    execute(20 * CORES, 0.1)
    seconds = []
    for workload in workloads:
        size = parsed(workload)
        seconds += fastest(partial(execute, *size), repeats=repeats_of(*size), clock=WALL)
    print(json.dumps(seconds))


def execute(count: int, seconds: float) -> None:
    experiment = mltraq.create_session().create_experiment()
    experiment.add_runs(N=range(count))
    experiment.execute(steps=[compute, increment], config={"seconds": seconds}, n_jobs=CORES)
    found = sorted(run.fields.y for run in experiment.runs.values())
    assert found == [*range(1, count + 1)]


if __name__ == "__main__":
    main(sys.argv[1:])
