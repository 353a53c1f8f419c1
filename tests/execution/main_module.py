"""Steps that only ``__main__`` has: ``python -m tests.execution.main_module``; prints the results.

The second half is executed as a notebook does: code of a cell, compiled under a name that is no
file, in the namespace of ``__main__``.
"""

import json
import os
from typing import ClassVar

import mltraq_prefect as mltraq

OFFSET = 10


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, value):
        return self.factor * value


def helper(value):
    return value + OFFSET


def step(run):
    run.fields.helped = helper(run.params.N)
    run.fields.pid = os.getpid()
    run.locals.scale = Scale(3)


def scaled(run):
    run.fields.scaled = run.locals.scale(run.params.N)


class Seen:
    values: ClassVar = []


def seen(run):
    Seen.values.append(run.params.N)
    run.fields.seen = len(Seen.values)


def closure(power):
    return lambda run: run.fields.update(powered=run.params.N**power)


CELL = """
class InCell:
    def __init__(self, value):
        self.value = value

def in_cell(run):
    run.locals.made = InCell(helper(run.params.N))

def from_cell(run):
    run.fields.cell = run.locals.made.value
"""


def main():
    exec(compile(CELL, "<ipython-input-1-0123456789ab>", "exec"), globals())
    experiment = mltraq.create_session().add_experiment("main").add_runs(N=[1, 2])
    steps = [step, scaled, seen, closure(2), globals()["in_cell"], globals()["from_cell"]]
    experiment.execute(steps, n_jobs=1)
    found = [dict(run.fields) for run in experiment.runs.values()]
    assert all(fields.pop("pid") != os.getpid() for fields in found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
