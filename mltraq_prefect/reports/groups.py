"""Groups of runs by their params, and what the numbers of each group are."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Places = NDArray[np.integer[Any]]

MOST_LEVELS = 50
"""A param with more numbers than this is put in bins."""

BINS = 20

REPLICATES = frozenset(
    ("seed", "random_state", "replicate", "repeat", "repetition", "trial", "fold", "split")
)
"""Params of these names tell runs of one kind apart; the runs are averaged over them."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A param that varies.

    Attributes:
        name: Name of the param.
        kind: What its values are; ``"bins"`` are ranges of numbers.
        levels: Its distinct values, or the centres of the bins, in order.
        labels: The same for a person.
        places: Place of each run among the levels.
    """

    name: str
    kind: Literal["number", "bins", "time", "category"]
    levels: Sequence[Any]
    labels: Sequence[str]
    places: Places


@dataclass(frozen=True, slots=True)
class Groups:
    """Runs that agree in some params.

    Attributes:
        axes: These params.
        members: Group of each run.
        sizes: Number of runs of each group.
        levels: For each axis, the place of each group among its levels.
    """

    axes: Sequence[Axis]
    members: Places
    sizes: Places
    levels: Sequence[Places]

    def labels(self, group: int) -> list[str]:
        """Return the values of the params of a group."""
        pairs = zip(self.axes, self.levels, strict=True)
        return [axis.labels[levels[group]] for axis, levels in pairs]


@dataclass(frozen=True, slots=True)
class Means:
    """A field in each group: shape (groups,).

    Attributes:
        mean: Arithmetic mean.
        error: Standard error of the mean; NaN where there is one value.
        count: Number of runs that have a value.
    """

    mean: Floats
    error: Floats
    count: Places


def find_axes(params: Sequence[Mapping[str, Any]]) -> list[Axis]:
    """Return the params that vary between runs, in the order of their definition."""
    names = dict.fromkeys(name for run in params for name in run)
    axes = (_axis(name, [run.get(name) for run in params]) for name in names)
    return [axis for axis in axes if len(axis.levels) > 1]


def _axis(name: str, values: Sequence[Any]) -> Axis:
    if {int, float}.issuperset(map(type, values)):
        return _numbers(name, pd.Series(values, dtype=np.float64))
    times = _times(values)
    if times is not None:
        places, levels = pd.factorize(np.array(times, dtype=object), sort=True)
        return Axis(name, "time", list(levels), [_moment(at) for at in levels], places)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    places, levels = pd.factorize(np.array(texts, dtype=object))
    return Axis(name, "category", list(levels), [shown(text) for text in levels], places)


def _numbers(name: str, values: pd.Series[float]) -> Axis:
    places, levels = pd.factorize(values.to_numpy(), sort=True)
    if len(levels) <= MOST_LEVELS:
        return Axis(name, "number", levels.tolist(), [f"{level:.6g}" for level in levels], places)
    # Like `qcut`, but the edges are numbers of runs: round ones stay round, and no bin is empty.
    quantiles = values.quantile(np.linspace(0, 1, BINS + 1), interpolation="nearest")
    edges = quantiles.unique().tolist()
    places = pd.cut(values, edges, include_lowest=True, labels=False).to_numpy()
    centres = values.groupby(places).median().tolist()
    labels = [f"{low:.6g} to {high:.6g}" for low, high in pairwise(edges)]
    return Axis(name, "bins", centres, labels, places)


def binned(axis: Axis) -> Axis:
    """Return an axis of time with few levels: ranges of as many times each, by their first."""
    count = len(axis.levels)
    if axis.kind != "time" or count <= BINS:
        return axis
    bins = np.arange(count) * BINS // count
    first = np.flatnonzero(np.diff(bins, prepend=-1)).tolist()
    levels, labels = ([some[place] for place in first] for some in (axis.levels, axis.labels))
    return Axis(axis.name, "time", levels, labels, bins[axis.places])


def _times(values: Sequence[Any]) -> list[datetime.datetime] | None:
    try:
        known = {text: datetime.datetime.fromisoformat(text) for text in set(values)}
    except (TypeError, ValueError):
        return None
    naive = {at.tzinfo is None for at in known.values()}
    return [known[text] for text in values] if len(naive) == 1 else None


def _moment(at: datetime.datetime) -> str:
    return at.isoformat(" ", "seconds" if at.second or at.microsecond else "minutes")


def shown(text: str, limit: int = 40) -> str:
    """Return text that fits in a cell."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def compared(axes: Sequence[Axis]) -> list[Axis]:
    """Return the params by which runs are compared: neither time nor replicates, if others vary."""
    chosen = [axis for axis in axes if axis.kind != "time" and axis.name not in REPLICATES]
    return chosen or list(axes)


def group(axes: Sequence[Axis], runs: int) -> Groups:
    """Group runs by params: those combinations that there are, in order."""
    all_runs = np.zeros(runs, dtype=np.int64)  # the only group, if no param varies
    grouped = pd.Series(all_runs).groupby([*(axis.places for axis in axes), all_runs])
    sizes = grouped.size()
    levels = [sizes.index.get_level_values(place).to_numpy() for place in range(len(axes))]
    return Groups(axes, grouped.ngroup().to_numpy(), sizes.to_numpy(), levels)


def views(axes: Sequence[Axis], runs: int) -> list[Groups]:
    """Return all params together if that makes few groups, else each on its own."""
    together = group(axes, runs)
    if len(together.sizes) <= MOST_LEVELS or len(axes) < 2:
        return [together]
    return [group([axis], runs) for axis in axes]


def means(values: Floats, groups: Groups) -> Means:
    """Return mean, standard error and count of a field in each group."""
    grouped = pd.Series(values).groupby(groups.members)
    with np.errstate(all="ignore"):  # infinite values
        mean, error = grouped.mean(), grouped.sem()
    return Means(mean.to_numpy(), error.to_numpy(), grouped.count().to_numpy())
