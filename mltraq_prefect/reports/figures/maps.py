"""Charts whose colours are values: heat maps, parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.reports.figures.scales import Scale, ScaleKind
from mltraq_prefect.reports.figures.svg import LETTER, element, figure, fitted, path, text, title
from mltraq_prefect.reports.numbers import Floats

_STOPS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]])
"""Viridis at 0, 1/4, ... 1: equal steps look equal (https://bids.github.io/colormap)."""


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
    tall = 24.0
    shares = _shares(values)
    parts = []
    for row, label in enumerate(rows):
        y = 8 + tall * row
        shown = fitted(label, left - 26)
        parts.append(text(left - 6, y + 16, shown, class_="tick", text_anchor="end"))
        for column, other in enumerate(columns):
            value, share = values[row, column], shares[row, column]
            if not math.isfinite(value):
                continue
            x = left + wide * column
            told = f"{names[0]}={other}, {names[1]}={label}: {names[2]} {value:.6g}"
            cell = element(
                "rect", x=x, y=y, width=wide - 1, height=tall - 1, fill=colour(float(share))
            )
            ink = "#ffffff" if share < 0.6 else "#111111"
            number = f"{value:.3g}"
            told_inside = (
                text(x + wide / 2, y + 16, number, class_="cell", fill=ink, text_anchor="middle")
                if len(number) * LETTER <= wide
                else ""
            )
            parts.append(element("g", title(told), cell, told_inside))
    low = 8 + tall * len(rows)
    for column, other in enumerate(columns):
        shown = fitted(other, wide, 2)
        x = left + wide * (column + 0.5)
        parts.append(text(x, low + 14, shown, class_="tick", text_anchor="middle"))
    across = wide * len(columns)
    middle = low / 2 + 4
    parts += [
        text(left + across / 2, low + 32, names[0], class_="name", text_anchor="middle"),
        text(
            12,
            middle,
            names[1],
            class_="name",
            text_anchor="middle",
            transform=f"rotate(-90 12 {middle:g})",
        ),
    ]
    return figure(left + across + 10, low + 40, f"{names[2]} by {names[0]} and {names[1]}", *parts)


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
    scales = [Scale([v for v in axis.values if v is not None], axis.kind) for axis in axes]
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
            shown = fitted(label, gap / 2)
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
