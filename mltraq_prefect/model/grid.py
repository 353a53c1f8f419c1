"""Grids: from the params that a user gives to the params of each run.

A grid is the Cartesian product of its axes. Its size is checked before runs are made: a run takes
about a kilobyte, so a typing error could otherwise fill the memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.errors import InvalidGrid

if TYPE_CHECKING:
    import pandas as pd

MAX_POINTS = 2_000_000
"""Number of runs that one call of `add_runs` makes at most."""

Params = dict[str, Any]


def points(rows: pd.DataFrame | None, grid: Mapping[str, Iterable[Any]]) -> Iterator[Params]:
    """Yield the params of each run: rows of a frame, each combined with the points of a grid.

    Args:
        rows: Its columns are params; each row is combined with all points of the grid.
        grid: Values of further params, the last one varying fastest.

    Raises:
        InvalidGrid: A param has no values, or something that is no collection of values; the frame
            is no frame of named columns; or there are more than `MAX_POINTS` points.
    """
    frame = [{}] if rows is None else _rows(rows)
    axes = {name: _axis(name, values) for name, values in grid.items()}
    if rows is not None:
        _refuse_twice([str(name) for name in rows.columns if name in axes])
    sizes = [len(frame), *(len(values) for values in axes.values())]
    _refuse_many(math.prod(sizes), " x ".join(f"{size:,}" for size in sizes if size > 1))
    return (
        row | dict(zip(axes, point, strict=True))
        for row in frame
        for point in itertools.product(*axes.values())
    )


def _axis(name: str, values: Iterable[Any]) -> Sequence[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not _can_be_iterated(values):
        raise InvalidGrid(
            f"param {name!r} of the grid is {values!r}, not a list of values; "
            f"for a single value write {name}=[{values!r}]"
        )
    if isinstance(values, range):
        axis: Sequence[Any] = values
    else:
        axis = list(itertools.islice(values, MAX_POINTS + 1))
        _refuse_many(len(axis), f"param {name!r} has more than {MAX_POINTS:,} values")
    if not axis:
        raise InvalidGrid(f"param {name!r} of the grid has no values, so it defines no runs")
    return axis


def _can_be_iterated(values: object) -> bool:
    """Whether it can be iterated; an array without dimensions only seems to."""
    try:
        iter(values)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def _refuse_many(count: int, sizes: str) -> None:
    if count > MAX_POINTS:
        raise InvalidGrid(
            f"the grid has {count:,} points ({sizes}); add_runs makes at most {MAX_POINTS:,} runs. "
            "Make the grid coarser, or execute it in parts, each an experiment of this name"
        )


def _rows(frame: pd.DataFrame) -> list[Params]:
    names = list(getattr(frame, "columns", []))
    if not names or not hasattr(frame, "itertuples"):
        raise InvalidGrid(
            f"add_runs takes a DataFrame whose columns are params, not {_short(frame)}; "
            "other params are keywords: add_runs(N=[1, 2])"
        )
    for name in names:
        if not isinstance(name, str):
            raise InvalidGrid(f"a column of the frame is called {name!r}; params have text names")
    _refuse_twice([name for name in dict.fromkeys(names) if names.count(name) > 1])
    if not len(frame):
        raise InvalidGrid("the frame has no rows, so it defines no runs")
    _refuse_many(len(frame), "rows of the frame")
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _refuse_twice(names: list[str]) -> None:
    if names:
        raise InvalidGrid(f"param {names[0]!r} is given twice")


def _short(value: object) -> str:
    return f"a {type(value).__name__}"
