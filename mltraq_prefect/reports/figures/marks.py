"""Values with their errors as dots in the rows of a table, all on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from mltraq_prefect.reports.figures.scales import Scale, ends_of
from mltraq_prefect.reports.figures.svg import LETTER, element, figure, text, title
from mltraq_prefect.reports.wording import measured

WIDTH, HEIGHT = 110.0, 20.0


class Marks(NamedTuple):
    """Dots of a column of a table.

    Attributes:
        axis: The head of the column: its ticks.
        rows: What is in the rows; empty where there is no value.
    """

    axis: str
    rows: Sequence[str]


def marks(
    values: Sequence[float],
    errors: Sequence[float],
    *,
    muted: Sequence[bool] = (),
    zero: bool = False,
) -> Marks | None:
    """Return a dot with a bar of one standard error for each row; None if fewer than two have one.

    Args:
        values: Value of each row; NaN where there is none.
        errors: Standard error of each; NaN where there is none.
        muted: Which rows are of another colour.
        zero: Whether zero has a line; then one row is enough.
    """
    known = [own for own in values if math.isfinite(own)]
    if len(known) < 2 - zero:
        return None
    ends = [end for pair in zip(values, errors, strict=True) for end in ends_of(*pair)]
    scale = _scale([*ends, 0.0] if zero else ends)
    lines = [_upright(scale.at(0.0), "axis")] if zero else []
    lines += [_upright(share, "grid") for share, _ in scale.ticks()]
    colours = ["c5" if muted and muted[row] else "c0" for row in range(len(values))]
    rows = [_row(scale, lines, *own) for own in zip(values, errors, colours, strict=True)]
    return Marks(_axis(scale), rows)


def _scale(ends: Sequence[float]) -> Scale:
    """Return a scale with as many ticks as there is room for the labels of."""
    scales = [Scale(ends, wanted=wanted) for wanted in (4, 3, 2)]
    return next((own for own in scales if _is_roomy(own.ticks())), scales[-1])


def _is_roomy(ticks: Sequence[tuple[float, str]]) -> bool:
    return sum(len(label) + 2 for _, label in ticks) * LETTER <= WIDTH


def _axis(scale: Scale) -> str:
    shown = scale.ticks()
    while len(shown) > 1 and not _is_roomy(shown):
        shown = [shown[0], shown[-1]] if len(shown) > 2 else shown[:1]
    ticks = [_tick(share, label) for share, label in shown]
    return figure(WIDTH, 14.0, "axis", *ticks, is_small=True)


def _tick(share: float, label: str) -> str:
    half = len(label) * LETTER / 2
    x = min(max(WIDTH * share, half), WIDTH - half)  # nothing is cut at the ends
    return text(x, 11, label, class_="tick", text_anchor="middle")


def _row(scale: Scale, lines: Sequence[str], value: float, error: float, colour: str) -> str:
    low, high, middle = (WIDTH * scale.at(own) for own in (*ends_of(value, error), value))
    if not math.isfinite(low + middle + high):
        return ""
    y, told = HEIGHT / 2, measured(value, error)
    bar = element("line", x1=low, x2=high, y1=y, y2=y, class_=f"error {colour}")
    dot = element("circle", cx=middle, cy=y, r=4, class_=colour)
    return figure(WIDTH, HEIGHT, told, *lines, title(told), bar, dot, is_small=True)


def _upright(share: float, kind: str) -> str:
    x = WIDTH * share
    return element("line", x1=x, x2=x, y1=0, y2=HEIGHT, class_=kind)
