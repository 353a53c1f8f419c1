"""Grids: from the params that a user gives to the params of each run.

A grid is the Cartesian product of its axes. Its size is known before runs are made: a run takes
about a kilobyte, so those of a large grid are made some at a time; see `streamed_grid`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mltraq_prefect.errors import InvalidGrid
from mltraq_prefect.model.names import check_name

if TYPE_CHECKING:
    import pandas as pd

MAX_POINTS = 2_000_000
"""Number of runs that `add_runs` makes at once; the runs of a larger grid are streamed."""

MOST_POINTS = 100_000_000
"""Number of points that a grid has at most: a typing error has more."""

Params = dict[str, Any]


class Grid:
    """The points of a grid: rows of a frame, each combined with the points of its axes.

    Args:
        rows: Its columns are params; each row is combined with all points of the axes.
        axes: Values of further params, the last one varying fastest.

    Attributes:
        rows (Sequence[Params]): Params of each row of the frame; of one without any, if there is
            none.
        axes (dict[str, Sequence[Any]]): Values of each other param.

    Raises:
        InvalidGrid: A param has no values, or something that is no collection of values; the frame
            is no frame of named columns; or there are more than `MOST_POINTS` points.
        InvalidName: A param has a name that no database can carry.
    """

    def __init__(self, rows: pd.DataFrame | None, axes: Mapping[str, Iterable[Any]]) -> None:
        self.rows: Sequence[Params] = [{}] if rows is None else _rows(rows)
        self.axes = {name: _axis(name, values) for name, values in axes.items()}
        for name in (*self.rows[0], *axes):
            check_name(name, "param name")
        if rows is not None:
            _refuse_twice([str(name) for name in rows.columns if name in axes])
        sizes = [len(self.rows), *map(_size, self.axes.values())]
        self._count = math.prod(sizes)
        _refuse_many(self._count, " x ".join(f"{size:,}" for size in sizes if size > 1))

    def __len__(self) -> int:
        return self._count

    @property
    def is_large(self) -> bool:
        """Whether it has too many points for all of its runs to be made at once."""
        return len(self) > MAX_POINTS

    def __iter__(self) -> Iterator[Params]:
        return (
            row | dict(zip(self.axes, point, strict=True))
            for row in self.rows
            for point in itertools.product(*self.axes.values())
        )

    def places(self, index: int) -> list[int]:
        """Return which row of the frame a point has, and which value of each axis."""
        places = []
        for values in reversed(self.axes.values()):
            index, place = divmod(index, len(values))
            places.append(place)
        return [index, *reversed(places)]

    def at(self, places: Sequence[int]) -> Params:
        """Return the params of a point.

        Args:
            places: As `places` tells them.
        """
        params = dict(self.rows[places[0]])
        for (name, values), place in zip(self.axes.items(), places[1:], strict=True):
            params[name] = values[place]
        return params


class _Rows(Sequence[Params]):
    """The rows of a large frame, each of which is made when somebody asks for it."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._names = list(frame.columns)
        self._frame = frame.copy()  # what a user does to it later changes no run
        self._some: tuple[int, list[Params]] = (0, [])

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, index: Any) -> Any:
        start, rows = self._some
        if not start <= index < start + len(rows):
            start = index - index % ROWS_AT_ONCE
            rows = _as_params(self._names, self._frame.iloc[start : start + ROWS_AT_ONCE])
            self._some = start, rows
        return rows[index - start]


ROWS_AT_ONCE = 1_000
"""Rows of a large frame that are made at once."""


def _axis(name: str, values: Iterable[Any]) -> Sequence[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not _can_be_iterated(values):
        raise InvalidGrid(
            f"param {name!r} of the grid is {values!r}, not a list of values; "
            f"for a single value write {name}=[{values!r}]"
        )
    if isinstance(values, range):
        axis: Sequence[Any] = values
    elif isinstance(values, np.ndarray) and len(values) > MAX_POINTS:
        copied: Any = values.copy()  # as a list, it would take four times the memory
        axis = copied
    else:
        most = MOST_POINTS if isinstance(values, Sequence) else MAX_POINTS
        axis = list(itertools.islice(values, most + 1))
        if len(axis) > most:
            raise InvalidGrid(
                f"param {name!r} has more than {most:,} values; for more, give a list, an array "
                "or a range"
            )
    if not _size(axis):
        raise InvalidGrid(f"param {name!r} of the grid has no values, so it defines no runs")
    return axis


def _size(values: Sequence[Any]) -> int:
    if isinstance(values, range):  # whose `len` does not take what a typing error has
        return max(0, -((values.start - values.stop) // values.step))
    return len(values)


def _can_be_iterated(values: object) -> bool:
    """Whether it can be iterated; an array without dimensions only seems to."""
    try:
        iter(values)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def _refuse_many(count: int, sizes: str) -> None:
    if count > MOST_POINTS:
        raise InvalidGrid(
            f"the grid has {count:,} points ({sizes}); add_runs takes at most {MOST_POINTS:,}. "
            "Make the grid coarser, or execute it in parts, each an experiment of this name"
        )


def _rows(frame: pd.DataFrame) -> Sequence[Params]:
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
    return _Rows(frame) if len(frame) > MAX_POINTS else _as_params(names, frame)


def _as_params(names: Sequence[str], frame: pd.DataFrame) -> list[Params]:
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _refuse_twice(names: list[str]) -> None:
    if names:
        raise InvalidGrid(f"param {names[0]!r} is given twice")


def _short(value: object) -> str:
    return f"a {type(value).__name__}"
