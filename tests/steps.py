"""Steps of several tests; workers import this module, and for its sake neither Prefect nor pytest.

The import of a test's own module would cost each worker a second.
"""

import os
import threading
import time
from pathlib import Path

import numpy as np

from tests.polling import poll


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


def refuse_zero(run):
    time.sleep(0.02)
    if run.params.N == 0:
        raise ValueError("the first")


def square(run):
    run.fields.square = run.params.x**2


def draw_and_wait(run):
    """Of runs from 8 on, each waits for a file."""
    print("drawing", run.params.N)
    run.fields.drawn = run.rng.random()
    if run.params.N >= 8:
        assert poll(run.kwargs.go.exists, bool, seconds=90)


def double_drawn(run):
    run.fields.doubled = 2 * run.fields.drawn


def log_and_wait(run):
    """Log curves, and wait for a file."""
    for step in range(300):
        run.log(step, loss=run.params.level / (step + 1), note="text", odd=step % 2 == 0)
    while not Path(run.kwargs.until).exists():
        threading.Event().wait(0.05)
