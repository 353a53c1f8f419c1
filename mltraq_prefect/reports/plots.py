"""Pictures of numeric fields against params, as SVG; needs matplotlib."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mltraq_prefect.reports.groups import (
    Axis,
    Floats,
    Means,
    Places,
    binned,
    compared,
    find_axes,
    group,
    means,
)
from mltraq_prefect.reports.numbers import Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SERIES = 6
MOST_BARS = 20
MOST_PANELS = 6

LOG_FROM = 30.0
"""A scale is logarithmic if its largest value is so many times the smallest."""

FEW_DECADES = 3_000.0
"""Up to this ratio, a logarithmic scale has room for ticks at 2 and 5."""

COLOURS = ("#3b6fd4", "#d9662b", "#2f9e6e", "#a4479f", "#b38a12", "#6b7280")
INK, GRID, PAPER = "#1f2430", "#d5d9e2", "#ffffff"


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: a field against a param, a line for each value of another one.

    Attributes:
        field: The field, on the vertical scale.
        x: The param on the horizontal scale.
        series: The param that makes the lines, if there is one.
    """

    field: str
    x: Axis
    series: Axis | None


def panels(numbers: Numbers, fields: Sequence[str]) -> list[Panel]:
    """Return what is worth drawing: each field by the params, and over time if that varies."""
    axes = [binned(axis) for axis in find_axes(numbers.params)]
    found = []
    for key in fields:
        found += [Panel(key, x, series) for x, series in _pairs(axes)]
    return found[:MOST_PANELS]


def _pairs(axes: Sequence[Axis]) -> list[tuple[Axis, Axis | None]]:
    kept = compared(axes)
    by_rank = sorted(kept, key=_rank)
    pairs = [(by_rank[0], _series(by_rank[1:]))] if by_rank else []
    times = [axis for axis in axes if axis.kind == "time" and axis not in kept]
    return pairs + [(time, _series(by_rank)) for time in times[:1]]


def _rank(axis: Axis) -> tuple[bool, int]:
    return axis.kind == "category", -len(axis.levels)


def _series(axes: Sequence[Axis]) -> Axis | None:
    return next((axis for axis in axes if len(axis.levels) <= MOST_SERIES), None)


def draw(numbers: Numbers, chosen: Sequence[Panel]) -> str:
    """Return panels as one SVG, on paper of its own: readable on dark and light pages.

    Raises:
        ImportError: There is no matplotlib.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells that it builds a cache
    from matplotlib.figure import Figure

    columns = min(len(chosen), 2)
    rows = -(-len(chosen) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.5 * rows), facecolor=PAPER, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)  # type: ignore[union-attr,call-arg]
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, chosen, strict=False):
        _draw(axes, numbers, panel)
    for axes in grid.flat[len(chosen) :]:
        axes.set_visible(False)
    image = io.StringIO()
    figure.savefig(image, format="svg", facecolor=PAPER, metadata={"Date": None, "Creator": None})
    return image.getvalue()


def _draw(axes: Axes, numbers: Numbers, panel: Panel) -> None:
    lines = _lines(numbers, panel)
    _style(axes, panel)
    draw = _bars if panel.x.kind == "category" else _points
    draw(axes, panel, lines)
    if panel.x.kind in ("number", "bins") and _is_wide(panel.x.levels):
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
    if panel.x.kind != "category" and _is_wide([v for _, _, line in lines for v in line.mean]):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis)
    if panel.series is not None:
        axes.legend(
            title=panel.series.name, fontsize=8, title_fontsize=8, frameon=False, loc="best"
        )


def _lines(numbers: Numbers, panel: Panel) -> list[tuple[str, Places, Means]]:
    """Return for each line its label, the places of its points on the x axis, and their means."""
    by = [panel.x] if panel.series is None else [panel.series, panel.x]
    groups = group(by, len(numbers.params))
    found = means(numbers.fields[panel.field], groups)
    at, lines = groups.levels[-1], []
    series = panel.series.labels if panel.series is not None else [""]
    for place, label in enumerate(series):
        member = found.count > 0
        if panel.series is not None:
            member &= groups.levels[0] == place
        own = Means(found.mean[member], found.error[member], found.count[member])
        lines.append((label, at[member], own))
    return lines


def _points(axes: Axes, panel: Panel, lines: Sequence[tuple[str, Places, Means]]) -> None:
    for colour, (label, at, found) in zip(COLOURS, lines, strict=False):
        x: list[Any] = [panel.x.levels[place] for place in at]
        error = np.nan_to_num(found.error)
        axes.errorbar(
            x,
            found.mean,
            yerr=error if error.any() else None,
            label=label,
            color=colour,
            marker="o",
            markersize=4 if len(x) <= 30 else 2,
            linewidth=1.2,
            elinewidth=1.2,
            capsize=3 if len(x) <= 30 else 0,
        )
    if panel.x.kind == "time":
        _date_ticks(axes)


def _bars(axes: Axes, panel: Panel, lines: Sequence[tuple[str, Places, Means]]) -> None:
    shown = min(len(panel.x.levels), MOST_BARS)
    height = 0.8 / len(lines)
    for line, (label, at, found) in enumerate(lines):
        kept = at < shown
        where = at[kept] + (line - (len(lines) - 1) / 2) * height
        bars = axes.barh(
            where,
            found.mean[kept],
            height,
            xerr=np.nan_to_num(found.error[kept]),
            label=label,
            color=COLOURS[line],
            error_kw={"ecolor": INK, "capsize": 2},
        )
        axes.bar_label(bars, fmt="%.4g", padding=4, fontsize=8, color=INK)
    axes.margins(x=0.15)
    axes.set_yticks(range(shown), panel.x.labels[:shown], fontsize=8)
    axes.invert_yaxis()


def _style(axes: Axes, panel: Panel) -> None:
    upright = panel.x.kind != "category"
    across, up = (panel.x.name, panel.field) if upright else (panel.field, panel.x.name)
    axes.set_xlabel(_literal(across), color=INK)
    axes.set_ylabel(_literal(up), color=INK)
    axes.set_facecolor(PAPER)
    axes.grid(visible=True, axis="both" if upright else "x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def _literal(text: str) -> str:
    return text.replace("$", r"\$")


def _is_wide(values: Sequence[float] | Floats) -> bool:
    finite = [value for value in values if np.isfinite(value)]
    return len(finite) > 2 and min(finite) > 0 and max(finite) >= LOG_FROM * min(finite)


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axis.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < FEW_DECADES * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _date_ticks(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)
