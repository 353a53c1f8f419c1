"""Kill a sweep at random, again and again: ``python -m tests.execution.soak [KILLS]``.

Each round executes a checkpointed sweep, kills the process of its flow, one of its workers or their
fork server at a random moment, and starts the same command again until it is done; then the results
are compared with those of an undisturbed execution, bit for bit. Exits with 1 at the first
difference.
"""

import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from tests.polling import poll
from tests.processes import descendants
from tests.sweeps import Sweep, undisturbed

RUNS = 1_000


def main(kills):
    generator = random.Random()
    done = {"flow": 0, "helper": 0}
    rounds = repeated = 0
    with prefect_test_harness(server_startup_timeout=120), tempfile.TemporaryDirectory() as root:
        expected = undisturbed(Path(root) / "undisturbed", RUNS)
        while sum(done.values()) < kills:
            rounds += 1
            folder = Path(root) / f"round-{rounds}"
            sweep = Sweep(f"sqlite:///{folder}.db", folder, RUNS, settings())
            _disturb(sweep, generator, done, kills)
            if sweep.results() != expected:
                print(f"round {rounds}: the results differ; see {root}")
                return 1
            repeated += sum(sweep.executions()) - RUNS
            print(f"round {rounds}: {done}, {repeated} executions repeated", flush=True)
    print(f"{kills} kills, {rounds} sweeps of {RUNS} runs: all as if undisturbed")
    return 0


def settings():
    return {
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }


def _disturb(sweep, generator, done, kills):
    """Start a sweep until it completes; kill something most of the times."""
    while True:
        process = sweep.start()
        if sum(done.values()) >= kills or generator.random() < 0.1:
            if process.wait() == 0:
                return
            continue
        _wait_for_progress(sweep, process)
        time.sleep(generator.uniform(0, 2))
        helpers = descendants(process.pid)
        if process.poll() is None and helpers and generator.random() < 0.3:
            _kill(generator.choice(helpers))
            done["helper"] += 1
        if process.poll() is None:
            process.kill()
            done["flow"] += 1
        if process.wait() == 0:
            return


def _wait_for_progress(sweep, process):
    before = sum(sweep.executions())
    poll(lambda: sum(sweep.executions()), lambda n: n > before or process.poll() is not None)


def _kill(pid):
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
