"""Kill many writers on each backend: ``python -m tests.contract.soak --points 500``."""

import argparse
import contextlib
import tempfile

from tests.contract.conftest import BACKENDS, empty_database
from tests.contract.test_processes import kill_writers


def main():
    """Kill writers, half of them replacing, half merging; fail at the first loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500, help="kills on each backend")
    points = parser.parse_args().points
    for backend in BACKENDS:
        if backend == "sqlite-memory":
            continue
        for task in ("replace", "merge"):
            with contextlib.ExitStack() as stack:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                url = stack.enter_context(empty_database(backend, folder))
                kill_writers(url, task, points // 2)
            print(f"{backend}: {points // 2} kills while it would {task}: whole, and once")


if __name__ == "__main__":
    main()
