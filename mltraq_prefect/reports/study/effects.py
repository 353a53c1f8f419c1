"""What params do to the metric, as figures of the runs of a study."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mltraq_prefect.reports.figures.charts import COLOURS, Line, dot_chart, line_chart
from mltraq_prefect.reports.figures.maps import Coordinate, heat_map, parallel_coordinates
from mltraq_prefect.reports.figures.scales import ScaleKind
from mltraq_prefect.reports.study.leaderboard import Leaderboard
from mltraq_prefect.reports.study.results import Curve
from mltraq_prefect.reports.study.study import Param, Study, short_value, some_of

if TYPE_CHECKING:
    from mltraq_prefect.reports.numbers import Floats

MOST_EFFECTS = 12
MOST_DOTS = 25
MOST_POINTS = 50
"""A param with more numbers than this is put in bins."""

BINS = 20
MOST_STEPS = 500
MOST_THREADS = 1_000
MOST_AXES = 8
MOST_CELLS = 30


class Drawn(NamedTuple):
    """A figure of a page.

    Attributes:
        title: What it is about.
        svg: The figure.
        note: What is to be known of it.
    """

    title: str
    svg: str
    note: str = ""


def effects(study: Study) -> list[Drawn]:
    """Return the metric against each param, with a line or figure for each part of the work."""
    params = [own for own in study.params if own.kind != "time" and not own.is_split]
    ranked = sorted(params, key=lambda own: own.is_replicate)
    return [drawn for param in ranked[:MOST_EFFECTS] for drawn in _effect(study, param)]


def leaders(board: Leaderboard) -> str:
    """Return the configurations of a leaderboard with their errors; empty if there is only one."""
    rows = [row for row in board.rows if row.cells and row.cells[0][2]]
    if len(rows) < 2:
        return ""
    means, errors, _ = zip(*(row.cells[0] for row in rows), strict=True)
    muted = [row.like_best is False for row in rows]
    labels = [row.label for row in rows]
    return dot_chart(labels, means, errors, board.metrics[0].name, width=720.0, muted=muted)


def leading(study: Study, board: Leaderboard) -> str:
    """Return the effect of the param that varies alone, if one does; else the configurations."""
    alone = study.grouping[0] if len(study.grouping) == 1 else None
    if alone is None or alone.kind == "category" or len(alone.levels) < 3:
        return leaders(board)
    rows = study.sample
    for column, _, value in board.where:
        own = rows[column.name]
        rows = rows[own.isna() if value is None else own == value]
    line = _line(study, alone, rows, "")
    return line_chart([line], alone.label, _name(study), _scale(alone), size=(720.0, 300.0))


def history(study: Study) -> list[Drawn]:
    """Return the metric over each param that is a time, with a line for each of a few groups."""
    found = []
    for param in [own for own in study.params if own.kind == "time"][:2]:
        by = study.split or next(
            (own for own in study.grouping if own is not param and len(own.levels) <= COLOURS), None
        )
        lines = _lines(study, param, by)
        chart = line_chart(lines, param.label, _name(study), "time", size=(720.0, 300.0))
        found.append(Drawn(f"{_name(study)} over {param.label}", chart, _parts_left(by)))
    return found


def curves(study: Study) -> list[Drawn]:
    """Return what runs have logged, step by step: mean and one standard error of each group."""
    by = study.split or next((own for own in study.grouping if len(own.levels) <= COLOURS), None)
    found = []
    for key in study.results.logged()[:MOST_EFFECTS]:
        logged = study.results.curves(key, None if by is None else by.column, MOST_STEPS)
        lines = [
            curve_line("" if by is None else f"{by.label}={short_value(own.group)}", own)
            for own in logged[:COLOURS]
        ]
        if lines:
            chart = line_chart(lines, "step", key, band=True, size=(720.0, 300.0))
            found.append(Drawn(key, chart))
    return found


def curve_line(label: str, curve: Curve) -> Line:
    """Return what runs have logged as a line of means and standard errors."""
    moments = curve.moments
    return Line(label, curve.steps, moments.mean.tolist(), moments.error.tolist())


def _scale(param: Param) -> ScaleKind:
    return "time" if param.kind == "time" else "number"


def _name(study: Study) -> str:
    return "" if study.metric is None else study.metric.name


def _effect(study: Study, param: Param) -> Iterator[Drawn]:
    if study.metric is None:
        return
    title = f"{_name(study)} by {param.label}"
    if param.kind == "category":
        for level, rows in _parts(study, study.split):
            yield Drawn(
                f"{title}{f', {level}' if level else ''}",
                _dots(study, param, rows),
                _left_out(param, study.split),
            )
        return
    lines = _lines(study, param, study.split)
    yield Drawn(title, line_chart(lines, param.label, _name(study)), _parts_left(study.split))


def _left_out(param: Param, split: Param | None) -> str:
    left = len(param.levels) - MOST_DOTS
    told = f"The best {MOST_DOTS} of {len(param.levels):,} values. " if left > 0 else ""
    return f"{told}{_parts_left(split)}".strip()


def _parts(study: Study, by: Param | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the label and the runs of the first values of a param, and of runs without it."""
    if by is None:
        yield "", study.sample
        return
    own = study.sample[by.name]
    for level in _levels(by)[:COLOURS]:
        if level is None:
            yield f"without {by.label}", study.sample[own.isna()]
        else:
            yield f"{by.label}={short_value(level)}", study.sample[own == level]


def _levels(by: Param) -> list[Any]:
    return [*by.levels, *([None] if by.is_partial else [])]


def _parts_left(by: Param | None) -> str:
    """Return a note that not all values of a param that divides the work are shown, or nothing."""
    count = 0 if by is None else len(_levels(by))
    return (
        f"{COLOURS} of {count:,} values of {by.label} are shown." if by and count > COLOURS else ""
    )


def _dots(study: Study, param: Param, rows: pd.DataFrame) -> str:
    metric = _name(study)
    grouped = rows.groupby(param.name, sort=False)[metric]
    table = pd.DataFrame({"mean": grouped.mean(), "error": grouped.sem()}).dropna(subset="mean")
    table = table.sort_values("mean", ascending=study.lower, kind="stable").head(MOST_DOTS)
    labels = [short_value(level) for level in table.index]
    return dot_chart(labels, table["mean"].tolist(), table["error"].tolist(), metric)


def _lines(study: Study, param: Param, by: Param | None) -> list[Line]:
    return [
        line for label, rows in _parts(study, by) if (line := _line(study, param, rows, label)).x
    ]


def _line(study: Study, param: Param, rows: pd.DataFrame, label: str) -> Line:
    known = rows[[param.name, _name(study)]].dropna()
    x = known[param.name]
    if param.kind == "number":
        x = x.astype(np.float64)
        if len(param.levels) > MOST_POINTS:
            quantiles = x.quantile(np.linspace(0, 1, BINS + 1), interpolation="nearest")
            places = pd.cut(x, quantiles.unique().tolist(), include_lowest=True, labels=False)
            x = x.groupby(places).transform("median")
    grouped = known[_name(study)].groupby(x)
    mean, error = grouped.mean(), grouped.sem()
    return Line(label, mean.index.tolist(), mean.tolist(), error.tolist())


def heat_maps(study: Study, wanted: Sequence[str] = ()) -> list[Drawn]:
    """Return a map of the metric over two params, for each part of the work.

    Args:
        study: The study.
        wanted: The params; those with the most values that fit if there are none.
    """
    fitting = [own for own in study.grouping if 1 < len(own.levels) <= MOST_CELLS]
    chosen = [own for own in fitting if own.name in wanted] if wanted else fitting
    pairs = list(itertools.combinations(chosen, 2))
    if study.metric is None or not pairs:
        return []
    # Families have params of their own: the map with the most cells is of two that go together.
    pair = max(pairs, key=lambda own: _cells_of(study, own))
    across, down = sorted(pair, key=lambda own: (own.kind == "category", -len(own.levels)))
    found = []
    for label, rows in _parts(study, study.split):
        table = rows.pivot_table(index=down.name, columns=across.name, values=_name(study))
        if not table.empty:
            columns, labels = (list(map(short_value, own)) for own in (table.columns, table.index))
            names = (across.label, down.label, _name(study))
            svg = heat_map(table.to_numpy(dtype=np.float64), columns, labels, names)
            title = label or f"{_name(study)} by {across.label} and {down.label}"
            found.append(Drawn(title, svg, _parts_left(study.split)))
    return found


def _cells_of(study: Study, pair: Sequence[Param]) -> int:
    known = study.sample.loc[study.sample[_name(study)].notna(), [own.name for own in pair]]
    return len(known.dropna().drop_duplicates())


def parallel(study: Study) -> list[Drawn]:
    """Return a line for each run through its params and its metric, coloured by that."""
    params = [own for own in study.params if not own.is_replicate][: MOST_AXES - 1]
    if study.metric is None or not params:
        return []
    rows = study.sample[study.sample[_name(study)].notna()]
    shown = some_of(rows, MOST_THREADS)
    values: Floats = shown[_name(study)].to_numpy(dtype=np.float64)
    if not len(values):
        return []
    axes = [Coordinate(own.label, own.kind, _cells(shown[own.name])) for own in params]
    axes.append(Coordinate(_name(study), "number", values.tolist()))
    note = (
        f"{len(shown):,} of {study.header.runs:,} runs." if len(shown) < study.header.runs else ""
    )
    return [Drawn("Runs", parallel_coordinates(axes, values, _name(study)), note)]


def _cells(column: pd.Series[Any]) -> list[Any]:
    cells = column.tolist()
    return [
        None if pd.isna(own) else short_value(own) if isinstance(own, str) else own for own in cells
    ]
