"""What params do to the metric, as figures of the runs of a study."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mltraq_prefect.reports.figures.charts import COLOURS, Line, dot_chart, line_chart
from mltraq_prefect.reports.figures.maps import Coordinate, heat_map, parallel_coordinates
from mltraq_prefect.reports.figures.marks import Marks, marks
from mltraq_prefect.reports.figures.scales import ScaleKind
from mltraq_prefect.reports.study.bins import Axis
from mltraq_prefect.reports.study.leaderboard import Leaderboard, Row
from mltraq_prefect.reports.study.study import Param, Study, short_value, some_of
from mltraq_prefect.reports.wording import plain

if TYPE_CHECKING:
    from mltraq_prefect.reports.numbers import Floats

MOST_EFFECTS = 12
MOST_DOTS = 25
MOST_POINTS = 50
"""A param with more numbers than this is put in bins."""

BINS = 20
MOST_TIMES = 200
"""Of more times, as many as it takes follow each other in a point."""

MOST_THREADS = 1_000
MOST_AXES = 8


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
    """Return the metric against each param, with a figure for each part of the work."""
    params = [own for own in study.params if own.kind != "time" and not own.is_split]
    ranked = sorted(params, key=lambda own: own.is_replicate)
    found = [drawn for param in ranked[:MOST_EFFECTS] for drawn in _effect(study, param)]
    if found and (left := _params_left(len(params), MOST_EFFECTS)):
        found[-1] = found[-1]._replace(note=f"{found[-1].note} {left}".strip())
    return found


def _params_left(count: int, most: int) -> str:
    return f"Of {count:,} params that vary, {most} are shown." if count > most else ""


def board_marks(board: Leaderboard) -> Marks | None:
    """Return the configurations of a leaderboard as dots with their errors, a row each."""
    values, errors, muted = _of_rows(board.rows)
    return marks(values, errors, muted=muted)


def leaders(board: Leaderboard) -> str:
    """Return the configurations of a leaderboard with their errors; empty if there is only one."""
    rows = [row for row in board.rows if row.cells and row.cells[0][2]]
    if len(rows) < 2:
        return ""
    values, errors, muted = _of_rows(rows)
    labels = [row.label for row in rows]
    return dot_chart(labels, values, errors, board.metrics[0].name, width=720.0, muted=muted)


def _of_rows(rows: Sequence[Row]) -> tuple[list[float], list[float], list[bool]]:
    """Return value and error of the first metric, and whether a row is worse than the best."""
    cells = [row.cells[0] if row.cells else (np.nan, np.nan, 0) for row in rows]
    muted = [row.like_best is False for row in rows]
    return [own[0] for own in cells], [own[1] for own in cells], muted


def leading(study: Study, board: Leaderboard) -> Drawn:
    """Return the effect of the param that varies alone, if one does; else the configurations."""
    alone = study.grouping[0] if len(study.grouping) == 1 else None
    title = ", ".join(filter(None, [board.metrics[0].name, board.panel]))
    if alone is None or alone.kind == "category" or len(alone.levels) < 3:
        return Drawn(title, leaders(board))
    rows = study.sample
    for column, _, value in board.where:
        own = rows[column.name]
        rows = rows[own.isna() if value is None else own == value]
    line = _line(study, alone, rows, "")
    svg = line_chart([line], alone.label, _name(study), _scale(alone), size=(720.0, 300.0))
    return Drawn(title, svg, _merged(alone))


def history(study: Study) -> list[Drawn]:
    """Return the metric over each param that is a time, with a line for each of a few groups."""
    found = []
    for param in [own for own in study.params if own.kind == "time"][:2]:
        by = study.split or next(
            (own for own in study.grouping if own is not param and len(own.levels) <= COLOURS), None
        )
        lines = _lines(study, param, by)
        chart = line_chart(lines, param.label, _name(study), "time", size=(720.0, 300.0))
        note = f"{_merged(param)} {parts_left(by)}".strip()
        found.append(Drawn(f"{_name(study)} over {param.label}", chart, note))
    return found


def _scale(param: Param) -> ScaleKind:
    return "time" if param.kind == "time" else "number"


def _name(study: Study) -> str:
    return "" if study.metric is None else study.metric.name


def _effect(study: Study, param: Param) -> Iterator[Drawn]:
    """Yield a figure for each part of the work: on an axis of all, each would be a flat line."""
    if study.metric is None:
        return
    title, note = f"{_name(study)} by {param.label}", _left_out(param, study.split)
    for level, rows in parts(study, study.split):
        if svg := _drawn(study, param, rows):
            yield Drawn(f"{title}, {level}" if level else title, svg, note)


def _drawn(study: Study, param: Param, rows: pd.DataFrame) -> str:
    """Return the effect of a param in some runs; empty if none of them has it."""
    if param.kind == "category":
        return _dots(study, param, rows)
    line = _line(study, param, rows, "")
    return line_chart([line], param.label, _name(study)) if line.x else ""


def _left_out(param: Param, split: Param | None) -> str:
    told = ""
    if param.kind == "category" and len(param.levels) > MOST_DOTS:
        told = f"The best {MOST_DOTS} of {len(param.levels):,} values. "
    elif param.kind == "number" and param.none:
        told = f"Runs with {param.label}={param.none} have no place here. "
    return f"{told}{_merged(param)} {parts_left(split)}".strip()


def _merged(param: Param) -> str:
    """Return a note that a point of a line is of several values, or nothing."""
    if param.kind == "number" and len(param.levels) > MOST_POINTS:
        return f"A point is the mean of runs with values that follow each other, in {BINS} bins."
    if param.kind == "time" and (size := _times_a_point(param)) > 1:
        return f"A point is the mean of {size} times that follow each other, at the first of them."
    return ""


def _times_a_point(param: Param) -> int:
    return -(-len(param.levels) // MOST_TIMES)


def parts(study: Study, by: Param | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the label and the runs of the first values of a param, and of runs without it."""
    if by is None:
        yield "", study.sample
        return
    own = study.sample[by.name]
    for level in _levels(by)[:COLOURS]:
        yield level_label(by, level), study.sample[own.isna() if level is None else own == level]


def level_label(by: Param, value: Any) -> str:
    """Return what the runs of a value of a param are called."""
    shown = by.none if value is None else short_value(value)
    return f"{by.label}={shown}" if shown else f"without {by.label}"


def _levels(by: Param) -> list[Any]:
    return [*by.levels, *([None] if by.is_partial else [])]


def parts_left(by: Param | None) -> str:
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
    if table.empty:
        return ""
    labels = [short_value(level) for level in table.index]
    return dot_chart(labels, table["mean"].tolist(), table["error"].tolist(), metric)


def _lines(study: Study, param: Param, by: Param | None) -> list[Line]:
    return [
        line for label, rows in parts(study, by) if (line := _line(study, param, rows, label)).x
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
    elif (size := _times_a_point(param)) > 1:
        first = {own: param.levels[n - n % size] for n, own in enumerate(param.levels)}
        x = x.map(first)
    grouped = known[_name(study)].groupby(x)
    mean, error = grouped.mean(), grouped.sem()
    return Line(label, mean.index.tolist(), mean.tolist(), error.tolist())


def heat_maps(study: Study) -> list[Drawn]:
    """Return a map of the metric over two params, for each part of the work.

    They are the two of the chosen ones that have the most combinations.
    """
    pair = _map_axes(study)
    if pair is None:
        return []
    across, down = sorted(pair, key=lambda own: (own.kind == "category", -len(own.levels)))
    binned = " and ".join(own.label for own in (across, down) if own.is_binned)
    notes = [f"{binned} in bins, each called by its middle." if binned else ""]
    notes.append(parts_left(study.split))
    found = []
    for label, every in parts(study, study.split):
        rows = every[every[_name(study)].notna()]
        placed = rows.assign(**{own.name: own.put(rows[own.name]) for own in pair})
        table = placed.pivot_table(_name(study), down.name, across.name, sort=False)
        if table.empty:
            continue
        table = _in_order(table, down, across)
        values = table.to_numpy(dtype=np.float64)
        columns, labels = list(map(across.told, table.columns)), list(map(down.told, table.index))
        svg = heat_map(values, columns, labels, (across.label, down.label, _name(study)))
        of_part = f", {label}" if label else f" by {across.label} and {down.label}"
        found.append(
            Drawn(
                f"{_name(study)}{of_part}", svg, " ".join(filter(None, [_colours(values), *notes]))
            )
        )
    return found


def _map_axes(study: Study) -> tuple[Axis, Axis] | None:
    """Return the two params of a map; None if no two vary together."""
    if study.metric is None:
        return None
    rows = study.sample[study.sample[_name(study)].notna()]
    axes = [Axis(own, rows[own.name]) for own in study.grouping if Axis.fits(own)]
    placed = pd.DataFrame({own.name: own.put(rows[own.name]) for own in axes})
    cells = {pair: _cells_of(placed, pair) for pair in itertools.combinations(axes, 2)}
    # Families have params of their own: the map with the most cells is of two that go together.
    best = max(cells, key=lambda own: cells[own], default=None)
    return best if best is not None and cells[best] else None


def _colours(values: Floats) -> str:
    """Return what the colours of a map stand for."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return f"Dark is {plain(low)}, light {plain(high)}." if low < high else ""


def _in_order(table: pd.DataFrame, down: Axis, across: Axis) -> pd.DataFrame:
    rows, columns = (
        [level for level in own.levels if level in axis]
        for own, axis in ((down, table.index), (across, table.columns))
    )
    return table.loc[rows, columns]


def _cells_of(placed: pd.DataFrame, pair: Sequence[Axis]) -> int:
    """Return how many combinations two params have; 0 if one of them varies alone."""
    found = placed[[own.name for own in pair]].dropna().drop_duplicates()
    return len(found) if (found.nunique() > 1).all() else 0


def parallel(study: Study) -> list[Drawn]:
    """Return a line for each run through its params and its metric, coloured by that."""
    every = [own for own in study.params if not own.is_replicate]
    params = every[: MOST_AXES - 1]
    if study.metric is None or not params:
        return []
    rows = study.sample[study.sample[_name(study)].notna()]
    shown = some_of(rows, MOST_THREADS)
    values: Floats = shown[_name(study)].to_numpy(dtype=np.float64)
    if not len(values):
        return []
    axes = [Coordinate(own.label, own.kind, _cells(shown[own.name], own)) for own in params]
    axes.append(Coordinate(_name(study), "number", values.tolist()))
    note = (
        f"{len(shown):,} of {study.header.runs:,} runs." if len(shown) < study.header.runs else ""
    )
    note = f"{note} {_params_left(len(every), len(params))}".strip()
    return [Drawn("Runs", parallel_coordinates(axes, values, _name(study)), note)]


def _cells(column: pd.Series[Any], param: Param) -> list[Any]:
    told = short_value if param.kind == "category" else lambda own: own
    return [None if pd.isna(own) else told(own) for own in column.tolist()]
