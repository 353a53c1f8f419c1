"""Charts: lines with errors, dots with errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.reports.figures.scales import Scale, ScaleKind, ends_of
from mltraq_prefect.reports.figures.svg import LETTER, element, figure, fitted, path, text, title
from mltraq_prefect.reports.wording import plain

COLOURS = 6
"""Lines of different colour; the style of the page has them as the classes c0, c1, ..."""

_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 14.0, 12.0, 40.0
_NAMED = 26.0
"""Room for the name of the upright axis, beside the labels of its ticks."""


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one colour.

    Attributes:
        label: Name of the line; empty if it is the only one.
        x: Places of its points.
        y: Values.
        error: Standard errors of these, NaN where there is none.
    """

    label: str
    x: Sequence[Any]
    y: Sequence[float]
    error: Sequence[float]


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    x_kind: ScaleKind = "number",
    *,
    band: bool = False,
    size: tuple[float, float] = (460.0, 290.0),
) -> str:
    """Return lines through means, with bars or a band of one standard error.

    Args:
        lines: The lines.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        x_kind: What is on the horizontal axis.
        band: Whether errors are a band, as is right for many points.
        size: Width and height in pixels.
    """
    width, height = size
    legend = _legend(lines, width) if len(lines) > 1 else []
    bottom = height + 16.0 * (len(legend) > 0) * math.ceil(len(legend) / 3)
    xs = Scale([x for line in lines for x in line.x], x_kind, at_values=True)
    ends = [
        e for line in lines for y, s in zip(line.y, line.error, strict=True) for e in ends_of(y, s)
    ]
    ys = Scale(ends)
    plot = _Plot(xs, ys, width, height)
    drawn = [part for place, line in enumerate(lines) for part in _line(plot, line, place, band)]
    moved = [element("g", *legend, transform=f"translate(0 {height:g})")] if legend else []
    frame = plot.frame(x_label, y_label)
    return figure(width, bottom, f"{y_label} against {x_label}", *frame, *drawn, *moved)


def dot_chart(
    labels: Sequence[str],
    values: Sequence[float],
    errors: Sequence[float],
    name: str,
    *,
    width: float = 460.0,
    muted: Sequence[bool] = (),
    zero: bool = False,
) -> str:
    """Return a dot with a bar of one standard error for each label, one below the other.

    Args:
        labels: Names of the rows.
        values: Value of each.
        errors: Standard error of each; NaN where there is none.
        name: What the values are.
        width: In pixels.
        muted: Which rows are of another colour.
        zero: Whether to draw a line at zero.
    """
    longest = max((len(label) for label in labels), default=0)
    left = min(max(40.0, longest * LETTER + 10), width * 0.5)
    height = 22.0 * len(labels) + 52
    ends = [end for pair in zip(values, errors, strict=True) for end in ends_of(*pair)]
    scale = Scale([*ends, 0.0] if zero else ends)
    across = width - left - 20
    parts = _grid_down(scale, left, across, height - 38, name)
    if zero:
        x = left + across * scale.at(0.0)
        parts.append(element("line", x1=x, x2=x, y1=6, y2=height - 38, class_="axis"))
    for row, (label, value, error) in enumerate(zip(labels, values, errors, strict=True)):
        y = 20.0 + 22 * row
        parts.append(
            text(left - 8, y + 4, fitted(label, left - 10), class_="tick", text_anchor="end")
        )
        if not math.isfinite(value):
            continue
        colour = "c5" if muted and muted[row] else "c0"
        low, high = (left + across * scale.at(end) for end in ends_of(value, error))
        told = title(f"{label}: {name} {_told(value, error)}")
        bar = element("line", x1=low, x2=high, y1=y, y2=y, class_=f"error {colour}")
        dot = element("circle", cx=left + across * scale.at(value), cy=y, r=4, class_=colour)
        parts.append(element("g", told, bar, dot))
    return figure(width, height, f"{name} of {len(labels)} rows", *parts)


class _Plot:
    """The room between two axes."""

    def __init__(self, xs: Scale, ys: Scale, width: float, height: float) -> None:
        self._xs, self._ys = xs, ys
        self._width, self._height = width, height
        longest = max((len(label) for _, label in ys.ticks()), default=0)
        self._left = max(_LEFT, _NAMED + LETTER * longest)

    def at(self, x: Any, y: float) -> tuple[float, float]:
        """Return the point of a pair of values, in pixels."""
        return self._across(self._xs.at(x)), self._up(self._ys.at(y))

    def _across(self, share: float) -> float:
        return self._left + share * (self._width - self._left - _RIGHT)

    def _up(self, share: float) -> float:
        return self._height - _BOTTOM - share * (self._height - _TOP - _BOTTOM)

    def frame(self, x_label: str, y_label: str) -> list[str]:
        """Return grid, ticks and names of the axes."""
        low, top, right = self._up(0), self._up(1), self._across(1)
        parts = []
        for share, label in self._ys.ticks():
            y = self._up(share)
            parts.append(element("line", x1=self._left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(text(self._left - 6, y + 4, label, class_="tick", text_anchor="end"))
        ticks = self._xs.ticks()
        room = (right - self._left) / max(1, len(ticks))
        for share, label in ticks:
            x = self._across(share)
            parts.append(element("line", x1=x, x2=x, y1=low, y2=top, class_="grid"))
            shown = fitted(label, room)
            parts.append(text(x, low + 15, shown, class_="tick", text_anchor="middle"))
        middle = (self._left + right) / 2
        parts.append(
            text(
                middle,
                self._height - 6,
                fitted(x_label, right - self._left),
                class_="name",
                text_anchor="middle",
            )
        )
        up = (low + top) / 2
        turned = f"rotate(-90 12 {up:g})"
        named = {"class_": "name", "text_anchor": "middle", "transform": turned}
        parts.append(text(12, up, fitted(y_label, low - top), **named))
        return parts


def _line(plot: _Plot, line: Line, place: int, band: bool) -> list[str]:
    colour = f"c{place % COLOURS}"
    points = [plot.at(x, y) for x, y in zip(line.x, line.y, strict=True)]
    kept = [point for point in points if all(map(math.isfinite, point))]
    parts = []
    if band:
        around = [_around(plot, line, index) for index in range(len(line.x))]
        known = [pair for pair in around if all(math.isfinite(end) for end in pair[0] + pair[1])]
        outline = [low for low, _ in known] + [high for _, high in reversed(known)]
        parts.append(element("path", d=path(outline) + "Z", class_=f"band {colour}"))
    parts.append(element("path", d=path(kept), class_=f"line {colour}"))
    if len(kept) > 80:
        return parts
    for index, point in enumerate(points):
        if not all(map(math.isfinite, point)):
            continue
        (x, low), (_, high) = _around(plot, line, index)
        named = f"{line.label}, " if line.label else ""
        told = f"{named}{line.x[index]}: {_told(line.y[index], line.error[index])}"
        bar = element("line", x1=x, x2=x, y1=low, y2=high, class_=f"error {colour}")
        dot = element("circle", cx=point[0], cy=point[1], r=3.5, class_=colour)
        parts.append(element("g", title(told), "" if band else bar, dot))
    return parts


def _around(plot: _Plot, line: Line, index: int) -> tuple[tuple[float, float], tuple[float, float]]:
    low, high = ends_of(line.y[index], line.error[index])
    return plot.at(line.x[index], low), plot.at(line.x[index], high)


def _grid_down(scale: Scale, left: float, across: float, low: float, name: str) -> list[str]:
    parts = []
    for share, label in scale.ticks():
        x = left + across * share
        parts.append(element("line", x1=x, x2=x, y1=6, y2=low, class_="grid"))
        parts.append(text(x, low + 15, label, class_="tick", text_anchor="middle"))
    parts.append(
        text(left + across / 2, low + 32, fitted(name, across), class_="name", text_anchor="middle")
    )
    return parts


def _legend(lines: Sequence[Line], width: float) -> list[str]:
    each = (width - _LEFT - _RIGHT) / 3
    parts = []
    for place, line in enumerate(lines):
        x, y = _LEFT + each * (place % 3), 10 + 16.0 * (place // 3)
        parts.append(
            element(
                "g",
                element("circle", cx=x, cy=y - 4, r=4, class_=f"c{place % COLOURS}"),
                text(x + 9, y, fitted(line.label, each - 16), class_="tick"),
            )
        )
    return parts


def _told(value: float, error: float) -> str:
    return plain(value) + (f" ± {error:.2g}" if math.isfinite(error) else "")
