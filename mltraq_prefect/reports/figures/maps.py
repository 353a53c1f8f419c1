"""Charts whose colours are values: heat maps, parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.reports.figures.scales import Scale, ScaleKind
from mltraq_prefect.reports.figures.svg import LETTER, element, figure, fitted, path, text, title
from mltraq_prefect.reports.numbers import Floats
from mltraq_prefect.reports.wording import plain

_STOPS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])
"""Viridis at 0, 1/4, ... 1: equal steps look equal (https://bids.github.io/colormap)."""


_TOP, _TALL = 8.0, 24.0
_LONGEST = 10
"""Letters of a label below a column."""


def colour(share: float) -> str:
    """Return the colour of a value from 0 to 1."""
    places = np.linspace(0, 1, len(_STOPS))
    red, green, blue = (int(np.interp(share, places, _STOPS[:, part])) for part in range(3))
    return f"#{red:02x}{green:02x}{blue:02x}"


def heat_map(
    values: Floats, columns: Sequence[str], rows: Sequence[str], names: tuple[str, str, str]
) -> str:
    """Return a map of values.

    Args:
        values: Shape (rows, columns); NaN where there is none.
        columns: Labels of the columns.
        rows: Labels of the rows.
        names: Of the columns, of the rows, of the values.
    """
    left = min(160.0, max(map(len, [*rows, ""])) * LETTER + 26)
    wide = min(64.0, max(16.0, 520 / max(1, len(columns))))
    shares, numbers = _shares(values), _numbers(values, wide)
    parts = []
    for row, label in enumerate(rows):
        y = _TOP + _TALL * row
        shown = fitted(label, left - 26)
        parts.append(text(left - 6, y + 16, shown, class_="tick", text_anchor="end"))
        for column, other in enumerate(columns):
            value, share = values[row, column], float(shares[row, column])
            if math.isfinite(value):
                told = f"{names[0]}={other}, {names[1]}={label}: {names[2]} {plain(value)}"
                inside = numbers[row][column] if numbers else ""
                x = left + wide * column
                parts.append(element("g", title(told), *_cell(x, y, wide, share, inside)))
    low, across = _TOP + _TALL * len(rows), wide * len(columns)
    parts += [*_below(columns, left, wide, low), *_names(names, left, across, low)]
    return figure(left + across + 10, low + 40, f"{names[2]} by {names[0]} and {names[1]}", *parts)


def _cell(x: float, y: float, wide: float, share: float, inside: str) -> Iterator[str]:
    yield element("rect", x=x, y=y, width=wide - 1, height=_TALL - 1, fill=colour(share))
    if inside:
        ink = "#ffffff" if share < 0.6 else "#111111"
        yield text(x + wide / 2, y + 16, inside, class_="cell", fill=ink, text_anchor="middle")


def _below(columns: Sequence[str], left: float, wide: float, low: float) -> Iterator[str]:
    """Yield labels of columns: of some, if all have no room."""
    longest = min(max(map(len, [*columns, ""])), _LONGEST)
    every = max(1, math.ceil((longest * LETTER + 2) / wide))
    for column in range(0, len(columns), every):
        shown = fitted(columns[column], every * wide, 2)
        x = left + wide * (column + 0.5)
        yield text(x, low + 14, shown, class_="tick", text_anchor="middle")


def _names(names: Sequence[str], left: float, across: float, low: float) -> Iterator[str]:
    kind = {"class_": "name", "text_anchor": "middle"}
    yield text(left + across / 2, low + 32, fitted(names[0], across + 20), **kind)
    middle = low / 2 + 4
    turned = f"rotate(-90 12 {middle:g})"
    yield text(12, middle, fitted(names[1], low), transform=turned, **kind)


def _numbers(values: Floats, wide: float) -> list[list[str]]:
    """Return the texts of cells; none if some do not fit: a few numbers would look like marks."""
    texts = [[f"{value:.3g}" if math.isfinite(value) else "" for value in row] for row in values]
    longest = max((len(own) for row in texts for own in row), default=0)
    return texts if longest * LETTER <= wide else []


class Coordinate(NamedTuple):
    """An axis of parallel coordinates.

    Attributes:
        name: Of the param or metric.
        kind: What its values are.
        values: Value of each run; None where it has none.
    """

    name: str
    kind: ScaleKind
    values: Sequence[Any]


def parallel_coordinates(axes: Sequence[Coordinate], values: Floats, name: str) -> str:
    """Return a line for each run through its places on upright axes, coloured by a value.

    Args:
        axes: The axes, from left to right.
        values: What colours the lines, shape (runs,).
        name: Of these values.
    """
    height, gap, left = 300.0, max(110.0, 640.0 / max(1, len(axes) - 1)), 70.0
    top, low = 34.0, height - 12
    scales = [
        Scale([v for v in axis.values if v is not None], axis.kind, at_values=True) for axis in axes
    ]
    shares, parts = _shares(values), []
    for run in np.argsort(shares, kind="stable").tolist():
        if not math.isfinite(shares[run]):
            continue
        points = []
        for place, (axis, scale) in enumerate(zip(axes, scales, strict=True)):
            at = math.nan if axis.values[run] is None else scale.at(axis.values[run])
            if math.isfinite(at):
                points.append((left + gap * place, low - at * (low - top)))
        drawn = {"class_": "thread", "stroke": colour(float(shares[run]))}
        parts.append(element("path", d=path(points), **drawn))
    for place, (axis, scale) in enumerate(zip(axes, scales, strict=True)):
        x = left + gap * place
        parts.append(element("line", x1=x, x2=x, y1=top, y2=low, class_="axis"))
        parts.append(text(x, 16, fitted(axis.name, gap), class_="name", text_anchor="middle"))
        for at, label in scale.ticks():
            y = low - at * (low - top)
            shown = fitted(label, gap * 0.8 if place else left - 8)
            parts.append(text(x - 5, y + 4, shown, class_="tick halo", text_anchor="end"))
    width = left + gap * (len(axes) - 1) + 40
    return figure(width, height, f"{len(values)} runs, coloured by {name}", *parts)


def _shares(values: Floats) -> Floats:
    """Return where values lie between the least and the largest, from 0 to 1."""
    halves = values / 2  # the range of the largest floats is none itself
    finite = halves[np.isfinite(halves)]
    low = float(finite.min()) if finite.size else 0.0
    wide = (float(finite.max()) - low if finite.size else 0.0) or 1.0
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(halves), (halves - low) / wide, np.nan)
