"""What an execution costs: this package, one task run a run in plain Prefect, MLTRAQ on joblib.

Two steps on each run; the first one computes for 0, 5 or 20 ms in plain Python. The ideal is the
computing alone, on all cores, if the machine does nothing else. What it does is seen from bare
processes, one a core, that only compute. Everything is measured warm: the server is up and has
digested what was before, the modules are imported, joblib has its processes. Uses the server of
PREFECT_API_URL, else one of its own, set as docs/execution.md says for one that shares the cores.
Run as ``python -m benchmarks execution``; it takes about seven minutes. Plain Prefect, which is
slow and linear, is measured with at most 1,000 runs, and extrapolated (~) to 10,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from itertools import product
from typing import Any

from deployments.local import FRUGAL

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
os.environ.update(FRUGAL | os.environ)

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.testing.utilities import prefect_test_harness

import mltraq_prefect as mltraq
from benchmarks import peers
from benchmarks.report import WALL, Line, Quoted, Table, fastest, in_seconds
from benchmarks.runs import sqlite_url
from benchmarks.steps import compute, increment
from benchmarks.work import CORES, busy, parsed, repeats_of

WORKLOADS = [
    *(f"{runs}x{each}" for runs, each in product((100, 1_000), (0, 5, 20))),
    *("10000x0", "10000x5"),
]
MOST_QUICKLY = 1_000
MOST_PLAIN, PLAIN_QUICKLY = 1_000, 100
"""Plain Prefect is measured up to so many runs, and extrapolated (~) beyond."""

TO_BARE = {"1000x20": 1.25, "10000x5": 1.25}
"""Budgets of the ratio to bare processes."""
TO_MLTRAQ = {name: 1.0 for name in WORKLOADS if parsed(name)[0] >= 1_000 and parsed(name)[1] > 0}
"""Budgets of the ratio to MLTRAQ on joblib."""

SWEEPS = ((10_000, False, 10.0), (10_000, True, None), (100_000, True, 120.0))
"""Runs, whether they are checkpointed, and seconds that 2 trivial steps on them may take."""

BESIDE = (10_000, 400)
"""Runs of this package, and task runs that another flow has ended right before."""

OURS_AND_BARE = 2

QUOTED: dict[str, Quoted] = {
    "1000x20": "README",
    **dict.fromkeys(("1000x5", "10000x5", "10000x0"), "speed.md"),
}


def tables(quick: bool) -> Iterator[Table]:
    """Yield the tables; `quick` leaves out the largest."""
    names = [name for name in WORKLOADS if not quick or parsed(name)[0] <= MOST_QUICKLY]
    with server():
        this_package(20 * CORES, 0.001)
        times = [in_turn(name) for name in names]
        sweeps = [*sweep_lines(quick)]
        besides = beside_another_flow()
        most = PLAIN_QUICKLY if quick else MOST_PLAIN
        plain = [plain_seconds(name, most) for name in names]
    yield costs(names, times, plain)
    if len(times[0]) > OURS_AND_BARE:
        headings = ("runs x ms", "ours", "MLTRAQ")
        lines = [beside(*row) for row in zip(names, times, strict=True)]
        yield Table("Execution beside MLTRAQ on joblib", headings, lines)
    headings = ("runs", "seconds", "runs held", "execution adds")
    title = "Sweeps of 2 trivial steps; the ratio is to the seconds allowed, KiB of memory a run"
    yield Table(title, headings, sweeps)
    title = "2 trivial steps on 10,000 runs, right after another flow has ended 400 task runs"
    yield Table(title, ("server", "seconds"), besides)


def server() -> AbstractContextManager[None]:
    return nullcontext() if PREFECT_API_URL.value() else prefect_test_harness(120)


def in_turn(name: str) -> list[float]:
    """Return seconds of this package, of bare processes, and of MLTRAQ if there is one.

    They take turns, as a machine may do other things as well from time to time.
    """
    size = parsed(name)
    best = [float("inf")] * OURS_AND_BARE
    for _ in range(repeats_of(*size)):
        settle()
        took = fastest(partial(this_package, *size), repeats=1, clock=WALL)[0], bare(*size)
        best = [*map(min, best, took)]
    settle()
    return best + (peers.ask("mltraq_execution", name) or [])


def settle() -> None:
    """Wait until the server has digested the task runs of before."""
    chosen = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    last = None
    with get_client(sync_client=True) as client:
        while (now := client.request("POST", "/task_runs/count", json=chosen).json()) != last:
            last = now
            time.sleep(1.0)


BARE = """\
import sys
from benchmarks.work import busy
input()
for _ in range(int(sys.argv[1])):
    busy(float(sys.argv[2]))
"""


def bare(count: int, seconds: float) -> float:
    """Return the seconds that processes take, one a core, which do nothing but compute."""
    command = [sys.executable, "-c", BARE, str(count // CORES), str(seconds)]
    processes = [
        subprocess.Popen(command, cwd=peers.ROOT, stdin=subprocess.PIPE) for _ in range(CORES)
    ]
    time.sleep(0.5)
    start = WALL()
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.close()
    for process in processes:
        process.wait()
    return WALL() - start


def this_package(count: int, seconds: float) -> None:
    experiment = mltraq.create_session("sqlite://").add_experiment("bench").add_runs(N=range(count))
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

    assert mapped() == [*range(1, count + 1)]


def plain_seconds(name: str, most: int) -> tuple[float, str]:
    """Return seconds of plain Prefect, and a mark if they are extrapolated."""
    count, each = parsed(name)
    largest = min(count, most)
    return _plain_seconds(largest, each) * count / largest, "" if largest == count else "~"


@cache
def _plain_seconds(count: int, each: float) -> float:
    settle()
    return fastest(lambda: plain_prefect(count, each), repeats=1, clock=WALL)[0]


def costs(
    names: Sequence[str],
    times: Sequence[Sequence[float]],
    plain: Sequence[tuple[float, str]],
) -> Table:
    """Return the table of all ways, each with its ratio to the ideal in brackets."""
    lines = []
    for i, name in enumerate(names):
        count, each = parsed(name)
        ideal, (ours, alone, *others) = count * each / CORES, times[i]
        cells = [cell(alone, ideal), cell(ours, ideal), cell(plain[i][0], ideal, plain[i][1])]
        cells += [cell(other, ideal) for other in others]
        work = f"{count:,} x {each * 1e3:g} ms"
        ratio = ours / alone if ideal else None
        figures = (work, in_seconds(ideal), *cells)
        lines.append(Line(figures, ratio, TO_BARE.get(name), QUOTED.get(name, "")))
    headings = ("runs x ms", "ideal", "bare processes", "ours", "plain Prefect")
    title = f"Execution on {CORES} cores (multiple of the ideal); the ratio is to bare processes"
    return Table(title, (*headings, *["MLTRAQ"] * (len(times[0]) - OURS_AND_BARE)), lines)


def cell(took: float, ideal: float, mark: str = "") -> str:
    return f"{mark}{in_seconds(took)}" + (f" ({took / ideal:.2f})" if ideal else "")


def beside(name: str, times: Sequence[float]) -> Line:
    ours, _, other = times
    return Line((name, in_seconds(ours), in_seconds(other)), ours / other, TO_MLTRAQ.get(name))


def sweep_lines(quick: bool) -> Iterator[Line]:
    """Yield a line for each sweep, in a process of its own."""
    for count, checkpointed, allowed in SWEEPS[:2] if quick else SWEEPS:
        settle()
        with sqlite_url() as url:
            found = sweep(count, url if checkpointed else "")
        kib = [f"{found[part] / count:,.2f}" for part in ("before", "added")]
        cells = (f"{count:,}{', checkpointed' if checkpointed else ''}",)
        ratio = found["seconds"] / allowed if allowed else None
        page: Quoted = "README" if checkpointed and allowed else "speed.md"
        yield Line((*cells, in_seconds(found["seconds"]), *kib), ratio, 1.0, page)


def beside_another_flow() -> list[Line]:
    """Return the seconds while the server does nothing else, and while it digests task runs."""
    count, task_runs = BESIDE
    settle()
    idle = fastest(partial(this_package, count, 0), repeats=1, clock=WALL)[0]
    settle()
    other(task_runs)
    start = WALL()
    this_package(count, 0)
    busy_seconds = WALL() - start
    settle()
    return [
        Line(("idle", in_seconds(idle)), None, 1.0),
        Line(("busy", in_seconds(busy_seconds)), busy_seconds / idle, None),
    ]


@flow
def other(count: int) -> None:
    nothing.map(range(count)).wait()


@task
def nothing(_number: int) -> None:
    pass


def sweep(count: int, url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.sweep", url, str(count)]
    environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value())}
    done = subprocess.run(
        command, cwd=peers.ROOT, env=environment, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
