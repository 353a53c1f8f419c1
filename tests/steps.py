"""Steps of several tests; workers import this module, and for its sake neither Prefect nor pytest.

The import of a test's own module would cost each worker a second.
"""

import os
import threading

import numpy as np


def double(run):
    run.fields.double = 2 * run.params.N
    run.fields.pid = os.getpid()


def increment(run):
    run.fields.more = run.fields.double + 1


def refuse_three(run):
    if run.params.N == 3:
        raise ValueError("three is bad")
    run.fields.fine = True


def draw(run):
    run.fields.drawn = run.rng.random(3)
    run.fields.name = f"run {run.params.N}"


def total(run):
    if run.params.N == 3:
        raise ValueError("three is bad")
    run.fields.total = run.fields.drawn.sum()
    run.fields.normal = np.random.normal(size=2)


def score(run):
    run.fields.score = run.params.x / 2
    run.fields.curve = [run.params.x] * 3


def count(run):
    run.fields.count = run.params.N


def count_and_refuse_two(run):
    """Note an execution, and fail one of the runs."""
    with (run.kwargs.folder / str(run.params.N)).open("a") as file:
        file.write("x")
    run.fields.x = run.params.N
    if run.params.N == 2:
        raise ValueError("two is bad")


def hang_once(run):
    (run.kwargs.folder / f"{run.params.N}").write_text(str(os.getpid()))
    if run.params.N == 3 and not (run.kwargs.folder / "again").exists():
        threading.Event().wait()
    run.fields.x = run.params.N


def fail(run):
    raise NameError("name 'modle' is not defined")


def fail_odd(run):
    if run.params.N % 2:
        raise ValueError("odd")
    run.fields.half = run.params.N // 2


def fail_in_two_ways(run):
    if run.params.N % 2:
        raise KeyError(run.params.N)
    return 1 / 0
