"""Groups of runs by their params, and what the numbers of each group are."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

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
    if all(type(value) in (int, float) for value in values):
        return _numbers(name, np.array(values, dtype=np.float64))
    times = _times(values)
    if times is not None:
        levels, places = np.unique(np.array(times, dtype=object), return_inverse=True)
        return Axis(name, "time", list(levels), [_moment(at) for at in levels], places)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    order = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    places = np.array([order[text] for text in texts], dtype=np.int64)
    return Axis(name, "category", list(order), [shown(text) for text in order], places)


def _numbers(name: str, values: Floats) -> Axis:
    levels, places = np.unique(values, return_inverse=True)
    if len(levels) <= MOST_LEVELS:
        return Axis(name, "number", levels.tolist(), [f"{level:.6g}" for level in levels], places)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1), method="nearest"))
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    used, places = np.unique(places, return_inverse=True)
    centres = [float(np.median(values[places == place])) for place in range(len(used))]
    labels = [f"{edges[place]:.6g} to {edges[place + 1]:.6g}" for place in used]
    return Axis(name, "bins", centres, labels, places)


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
    codes = np.zeros(runs, dtype=np.int64)
    for axis in axes:
        codes = np.unique(codes * len(axis.levels) + axis.places, return_inverse=True)[1]
    sizes = np.bincount(codes)
    _, first = np.unique(codes, return_index=True)
    return Groups(axes, codes, sizes, [axis.places[first] for axis in axes])


def views(axes: Sequence[Axis], runs: int) -> list[Groups]:
    """Return all params together if that makes few groups, else each on its own."""
    together = group(axes, runs)
    if len(together.sizes) <= MOST_LEVELS or len(axes) < 2:
        return [together]
    return [group([axis], runs) for axis in axes]


def means(values: Floats, groups: Groups) -> Means:
    """Return mean, standard error and count of a field in each group."""
    present = ~np.isnan(values)
    members, values = groups.members[present], values[present]
    length = len(groups.sizes)
    count = np.bincount(members, minlength=length)
    with np.errstate(all="ignore"):
        mean = np.bincount(members, values, length) / count
        squares = np.bincount(members, (values - mean[members]) ** 2, length)
        error = np.sqrt(squares / (count - 1) / count)
    error[count < 2] = math.nan
    return Means(mean, error, count)
