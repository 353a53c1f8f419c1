"""Values of any type as HTML: arrays as figures, frames as tables, all else as text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from mltraq_prefect.reports.figures.bars import series_line
from mltraq_prefect.reports.figures.maps import heat_map
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.wording import plain

if TYPE_CHECKING:
    import pandas as pd

MOST_CHARACTERS = 4_000
MOST_OF_LINE = 80
MOST_ROWS = 20
MOST_COLUMNS = 12
MOST_POINTS = 400
MOST_CELLS = 24


def value_html(value: Any) -> str:
    """Return a value as HTML that is no longer than a screen."""
    if isinstance(value, np.ndarray):
        return _array(value)
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.Series):
        value = value.to_frame()
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _frame(value)
    return render("value.html", kind="", text=_text(value), svg="", columns=[], rows=[])


def kind_of(value: Any) -> str:
    """Return type, shape and dtype of a value."""
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype}"
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    if isinstance(value, str) and len(value) < MOST_OF_LINE:
        return name
    if isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)):
        return f"{name} of {len(value):,}"
    return f"{name} {shape}" if isinstance(shape, tuple) and shape else name


def _array(value: np.ndarray[Any, Any]) -> str:
    svg = ""
    if value.dtype.kind in "biuf" and value.size:
        if value.ndim == 1 and value.size > 1:
            step = -(-value.size // MOST_POINTS)
            svg = series_line(value[::step].astype(np.float64).tolist(), value.size)
        elif value.ndim == 2:
            steps = [-(-size // MOST_CELLS) for size in value.shape]
            cells = value[:: steps[0], :: steps[1]].astype(np.float64)
            rows, columns = (
                [str(step * place) for place in range(count)]
                for step, count in zip(steps, cells.shape, strict=True)
            )
            svg = heat_map(cells, columns, rows, ("column", "row", "value"))
    with np.printoptions(threshold=60, edgeitems=8 if value.ndim < 2 else 3):
        text = _text(value)
    return render("value.html", kind="", text=text, svg=svg, columns=[], rows=[])


def _frame(frame: pd.DataFrame) -> str:
    shown = frame.iloc[:MOST_ROWS, :MOST_COLUMNS].reset_index(allow_duplicates=True)
    rows = [[_short(cell) for cell in row] for row in shown.itertuples(index=False, name=None)]
    left = [f"{len(frame):,} rows"] if len(frame) > MOST_ROWS else []
    left += [f"{frame.shape[1]:,} columns"] if frame.shape[1] > MOST_COLUMNS else []
    text = f"The first of {' and '.join(left)}." if left else ""
    columns = [str(name) for name in shown.columns]
    return render("value.html", kind="frame", text=text, svg="", columns=columns, rows=rows)


def _short(cell: Any) -> str:
    text = plain(cell) if isinstance(cell, float) else str(cell)
    return text if len(text) <= 80 else text[:77] + "..."


def _text(value: Any) -> str:
    try:
        plain = value.item() if isinstance(value, np.generic) else value
        text = plain if isinstance(plain, str) else repr(plain)
    except Exception as error:  # a value's own repr may fail
        text = f"<{type(value).__name__} without repr: {type(error).__name__}>"
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n... {len(text):,} characters"
