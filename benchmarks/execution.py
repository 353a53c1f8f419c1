"""What an execution costs: this package, one task run a run in plain Prefect, MLTRAQ on joblib.

    python benchmarks/execution.py [--quick]

Two steps on each run; the first one computes for 0, 5 or 20 ms in plain Python. The table shows
seconds, and in brackets the ratio to the ideal: the computing time divided by the number of cores,
or, where nothing is computed, to this package. Everything is measured warm: the server is up, and
the modules are imported. Where MLTRAQ is not installed its column is empty. Plain Prefect is
measured up to 1,000 runs and extrapolated (~) beyond: it takes minutes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import nullcontext

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("TQDM_DISABLE", "1")

from prefect import flow, task
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.testing.utilities import prefect_test_harness

import mltraq_prefect as ours
from mltraq_prefect.execution import worker_count

SIZES = (100, 1_000, 10_000)
MILLISECONDS = (0, 5, 20)
PLAIN_UP_TO = 1_000
CORES = worker_count(-1)


def busy(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def compute(run) -> None:
    busy(run.kwargs.seconds)
    run.fields.x = run.params.N


def compute_in_mltraq(run) -> None:
    busy(run.config.seconds)
    run.fields.x = run.params.N


def increment(run) -> None:
    run.fields.y = run.fields.x + 1


def this_package(count: int, seconds: float) -> None:
    experiment = ours.create_session().add_experiment("bench").add_runs(N=range(count))
    experiment.execute([compute, increment], {"seconds": seconds})
    assert all(run.fields.y == run.params.N + 1 for run in experiment.runs.values())


@task
def plain_compute(n: int, seconds: float) -> int:
    busy(seconds)
    return n


@task
def plain_increment(n: int) -> int:
    return n + 1


def plain_prefect(count: int, seconds: float) -> None:
    @flow(task_runner=ThreadPoolTaskRunner(max_workers=CORES))
    def mapped() -> list[int]:
        first = plain_compute.map(range(count), seconds=seconds)
        return plain_increment.map(first).result()

    assert len(mapped()) == count


def mltraq_on_joblib() -> Callable[[int, float], None] | None:
    try:
        import mltraq
    except ImportError:
        return None

    def execute(count: int, seconds: float) -> None:
        experiment = mltraq.create_session().create_experiment()
        experiment.add_runs(N=range(count))
        experiment.execute(steps=[compute_in_mltraq, increment], config={"seconds": seconds})
        assert len(experiment.runs) == count

    return execute


def measured(work: Callable[[int, float], None], count: int, seconds: float) -> float:
    start = time.perf_counter()
    work(count, seconds)
    return time.perf_counter() - start


def plain_measured(count: int, seconds: float) -> tuple[float, str]:
    largest = min(count, PLAIN_UP_TO)
    took = measured(plain_prefect, largest, seconds)
    return took * count / largest, "" if largest == count else "~"


def cell(took: float, ideal: float, mark: str = "") -> str:
    return f"{mark}{took:8.2f} s ({took / ideal:6.2f})"


def row(count: int, milliseconds: int, joblib: Callable[[int, float], None] | None) -> str:
    seconds = milliseconds / 1_000
    took = measured(this_package, count, seconds)
    ideal = count * seconds / CORES or took
    plain = cell(*_ordered(plain_measured(count, seconds), ideal))
    other = "-" if joblib is None else cell(measured(joblib, count, seconds), ideal)
    return f"{count:7,} {milliseconds:4} ms  {cell(took, ideal):>22} {plain:>23} {other:>22}"


def _ordered(plain: tuple[float, str], ideal: float) -> tuple[float, float, str]:
    took, mark = plain
    return took, ideal, mark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the largest grid")
    sizes = SIZES[:-1] if parser.parse_args().quick else SIZES
    joblib = mltraq_on_joblib()
    with nullcontext() if PREFECT_API_URL.value() else prefect_test_harness(120):
        for work in filter(None, (this_package, plain_prefect, joblib)):
            work(20, 0.0)
        print(f"{CORES} cores; seconds (ratio to the ideal)")
        print(f"   runs    each  {'this package':>20} {'plain Prefect':>23} {'MLTRAQ, joblib':>22}")
        for count in sizes:
            for milliseconds in MILLISECONDS:
                print(row(count, milliseconds, joblib), flush=True)


if __name__ == "__main__":
    main()
