"""Executions that make task runs, and executions that do without Prefect.

What a worker or a thread does with the runs of a batch is the same for both. So all cases are
executed without Prefect, which takes a fraction of the time, and some of them with task runs, too.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

plainly = pytest.mark.usefixtures("without_prefect")

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def both_ways(
    name: str,
    values: Iterable[Any],
    with_task_runs: Iterable[Any],
    ids: Callable[[Any], object] = str,
) -> Decorator:
    """Parametrize a test: all values without Prefect, some of them with task runs, too.

    Args:
        name: Of the parameter.
        values: All of its values.
        with_task_runs: Those that are executed with task runs, too.
        ids: Names a value.
    """
    chosen = {"plain": values, "prefect": with_task_runs}
    cases = [
        pytest.param(value, way, id=f"{way}-{ids(value)}")
        for way, of_way in chosen.items()
        for value in of_way
    ]
    parametrized = pytest.mark.parametrize((name, "way"), cases, indirect=["way"])
    return lambda test: parametrized(pytest.mark.usefixtures("way")(test))


def in_both_ways(test: Callable[..., None]) -> Callable[..., None]:
    """Parametrize a test: with and without task runs."""
    parametrized = pytest.mark.parametrize("way", ["plain", "prefect"], indirect=True)
    return parametrized(pytest.mark.usefixtures("way")(test))
