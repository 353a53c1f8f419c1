"""The steps of the benchmark of executions; worker processes import this module and no more."""

from __future__ import annotations

import time

from benchmarks.work import busy
from mltraq_prefect import Run


def compute(run: Run) -> None:
    busy(run.kwargs.seconds)
    run.fields.x = run.params.N


def log_rows(run: Run) -> None:
    """Compute a number of rows, and log them if that is asked for."""
    loss = 1.0
    for i in range(run.kwargs.rows):
        loss = 1 / (1 + i)
        if run.kwargs.logs:
            run.log(i, loss=loss, accuracy=1 - loss)
        if run.kwargs.pause:
            time.sleep(run.kwargs.pause)
    run.fields.loss = loss


def increment(run: Run) -> None:
    run.fields.y = run.fields.x + 1
