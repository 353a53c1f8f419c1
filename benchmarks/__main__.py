"""Run all benchmarks, or some: ``python -m benchmarks [--quick] [--strict] [name ...]``.

A ratio compares with what is named in the table: 1 is as fast, 2 takes twice as long. A line over
its budget says so; with ``--strict`` the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from benchmarks import peers
from benchmarks.report import WALL

NAMES = (
    *("start", "values", "tables", "frames", "tracking", "writes", "execution", "shared"),
    *("growth", "pages", "grid", "clusters"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer repeats")
    parser.add_argument("--strict", action="store_true", help="fail if a budget is exceeded")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if peers.VARIABLE not in os.environ:
        print(f"{peers.VARIABLE} is not set: no columns of MLTRAQ and MLflow (see `make bench`).")
    over = [run(name, options.quick) for name in options.names or NAMES]
    print(f"\n{sum(over)} lines over budget")
    sys.exit(options.strict and any(over))


def run(name: str, quick: bool) -> int:
    """Show the tables of one benchmark; return how many lines are over budget."""
    module = importlib.import_module(f"benchmarks.{name}")
    start, over = WALL(), 0
    for table in module.tables(quick):
        table.show()
        over += sum(line.is_over for line in table.lines)
    print(f"\n{name} took {WALL() - start:,.0f} s", flush=True)
    return over


if __name__ == "__main__":
    main()
