"""What other processes do in the tests: ``python -m tests.contract.workers TASK URL ...``."""

import itertools
import sys

from mltraq_prefect.errors import ExperimentExists
from mltraq_prefect.storage import Store
from tests.contract.records import make_record, make_run

GENERATIONS = ({"n": int}, {"n": float}, {"n": int, "extra": str}, {"n": int})
"""Fields of successive replacements, so that some change the table and some do not."""


def generation(number, runs=20):
    """Return a record all of whose values tell its number."""
    fields = {key: kind(number) for key, kind in GENERATIONS[number % len(GENERATIONS)].items()}
    items = [make_run(i, g=number, pair=(number, number), **fields) for i in range(runs)]
    return make_record(runs=items, fields={"g": number})


def numbers_of(record):
    """Return the generations that the parts of a record are of: one, unless it is a mixture."""
    found = {record.fields["g"]}
    for run in record.runs:
        assert run.fields["pair"] == (run.fields["g"],) * 2
        found |= {run.fields["g"], int(run.fields["n"])}
    return found


def replace(url, first="0", count="1000000000"):
    """Replace an experiment over and over; say which generation is acknowledged."""
    store = Store(url)
    for number in itertools.islice(itertools.count(int(first)), int(count)):
        store.write(generation(number), "replace")
        print(number, flush=True)


def merge(url, first="0", count="1000000000"):
    """Merge runs, with a new field each, over and over; say which are acknowledged."""
    store = Store(url)
    for number in itertools.islice(itertools.count(int(first)), int(count)):
        run = make_run(number, n=number, pair=(number, 1), **{f"f{number % 40}": number})
        store.write(make_record(runs=[run]), "merge")
        print(number, flush=True)


def fail(url, number):
    """Write an experiment that others write at the same moment; say who has won."""
    try:
        Store(url).write(generation(int(number)), "fail")
    except ExperimentExists:
        print("exists", flush=True)
    else:
        print("won", flush=True)


def own(url, number):
    """Write an experiment of one's own."""
    Store(url).write(make_record(f"own {number}", runs=[make_run(0, n=int(number))]), "fail")


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    {"replace": replace, "merge": merge, "fail": fail, "own": own}[task](*arguments)
