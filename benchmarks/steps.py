"""The steps of the benchmark of executions; worker processes import this module and no more."""

from __future__ import annotations

from benchmarks.work import busy
from mltraq_prefect import Run


def compute(run: Run) -> None:
    busy(run.kwargs.seconds)
    run.fields.x = run.params.N


def increment(run: Run) -> None:
    run.fields.y = run.fields.x + 1
