"""Kill many writers, and read much: ``python -m tests.contract.soak --points 500``."""

import argparse
import contextlib
import itertools
import tempfile
from pathlib import Path

from tests.contract import tasks
from tests.contract.conftest import SHARED, empty_database
from tests.contract.kills import kill_writers, new_databases
from tests.contract.readers import read_while_replaced

TASKS = (tasks.replace, tasks.merge, tasks.recreate)


def main():
    """Kill writers of every kind, and read what others replace; fail at the first loss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500, help="kills on each backend")
    parser.add_argument("--replaces", type=int, default=1000, help="while three others read")
    parser.add_argument("--backend", choices=SHARED, action="append", help="only this one")
    arguments = parser.parse_args()
    points = -(-arguments.points // (len(TASKS) + 1))
    for backend in arguments.backend or SHARED:
        for task in TASKS:
            with tempfile.TemporaryDirectory() as folder, empty_database(backend, folder) as url:
                early = kill_writers(task, itertools.repeat(url), points)
            say(backend, points, f"{task.__name__} an experiment", early)
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.closing(new_databases(backend, Path(folder))) as urls,
        ):
            early = kill_writers(tasks.merge, urls, points)
        say(backend, points, "make the tables of an empty database", early)
        with tempfile.TemporaryDirectory() as folder, empty_database(backend, folder) as url:
            read_while_replaced(url, arguments.replaces)
        print(f"{backend}: {arguments.replaces} replaced, none was seen in parts", flush=True)


def say(backend, points, what, early):
    print(
        f"{backend}: {points} killed that would {what} ({early} before they had written once): "
        "all whole, all there, all once",
        flush=True,
    )


if __name__ == "__main__":
    main()
