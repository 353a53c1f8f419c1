"""Small pictures for tables: states of runs as a bar, a few numbers as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mltraq_prefect.reports.figures.charts import Line, line_chart
from mltraq_prefect.reports.figures.svg import element, figure, path, title


def state_bar(states: Mapping[str, int], width: float = 240.0) -> str:
    """Return numbers of runs by state as a bar; the style of the page has a colour for each."""
    total, parts, x = sum(states.values()), [], 0.0
    for state, runs in states.items():
        wide = width * runs / total if total else 0.0
        told = title(f"{runs:,} {state}")
        parts.append(element("rect", told, x=x, y=0, width=wide, height=8, class_=state))
        x += wide
    label = ", ".join(f"{runs:,} {state}" for state, runs in states.items()) or "no runs"
    return figure(width, 8, label, *parts, is_small=True)


def sparkline(values: Sequence[float], width: float = 110.0, height: float = 22.0) -> str:
    """Return values as a line without axes."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    low, wide = min(known), (max(known) - min(known)) or 1.0
    step = (width - 4) / (len(values) - 1)
    points = [
        (2 + step * place, height - 3 - (height - 6) * (value - low) / wide)
        for place, value in enumerate(values)
        if math.isfinite(value)
    ]
    told = f"{known[0]:.4g} to {known[-1]:.4g}"
    line = element("path", d=path(points), class_="line c0")
    return figure(width, height, told, title(told), line, is_small=True)


def series_line(values: Sequence[float], total: int) -> str:
    """Return values against their index as a line.

    Args:
        values: Some values at equal distances.
        total: Number of all values.
    """
    step = total / len(values)
    places = [step * place for place in range(len(values))]
    line = Line("", places, values, [math.nan] * len(values))
    return line_chart([line], "index", "value", band=True, size=(460.0, 200.0))
