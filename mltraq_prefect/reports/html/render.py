"""From templates to HTML. Everything is escaped but SVG and what templates themselves have."""

from __future__ import annotations

import datetime
import functools
import math
from typing import TYPE_CHECKING, Any

from mltraq_prefect.model.html import shown
from mltraq_prefect.reports.figures import palette
from mltraq_prefect.reports.numbers import PERCENT
from mltraq_prefect.reports.study.study import shown_value
from mltraq_prefect.reports.wording import duration, measured_cell, plain

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **context: Any) -> str:
    """Return a template as HTML.

    Args:
        template: Name of its file.
        **context: What it is about.
    """
    html = _environment().get_template(template).render(**context)
    return html.encode(errors="replace").decode()  # text may have halves of surrogate pairs


def style() -> str:
    """Return the style sheet of all pages."""
    figures = render("figures.css").strip()
    return render("style.css", light=palette.LIGHT, dark=palette.DARK, figures=figures)


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mltraq_prefect.reports.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["percent"] = PERCENT
    environment.filters |= {
        "number": number,
        "measured": measured_cell,
        "duration": lambda seconds: "" if seconds is None else duration(seconds),
        "when": when,
        "value": shown_value,
        "size": size,
        "brief": shown,
    }
    return environment


def number(value: Any) -> str:
    """Return a number for a person: counts with commas, others to six digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:,}" if isinstance(value, int) else plain(value)


def when(at: datetime.datetime | None) -> str:
    """Return a time in UTC, to the minute."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def size(count: int | None) -> str:
    """Return a number of bytes for a person."""
    if count is None:
        return ""
    left = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if left < 1000:
            return f"{left:.3g} {unit}"
        left /= 1000
    return f"{left:.3g} TB"
