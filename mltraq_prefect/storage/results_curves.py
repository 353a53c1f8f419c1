"""Means and variances that the database computes, and the curves that are made of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mltraq_prefect.reports.study.results import Column, Curve, Moments
from mltraq_prefect.storage.results_view import ResultsView
from mltraq_prefect.storage.values.columns import Maker


def squared_distances(number: str) -> str:
    """Return the sum of squares of what a number lies away from a bound one.

    Where all are the same it is 0, and so is what `moments_of` makes of it: of squares, rounding
    would leave a little, and with it a difference that looks significant.
    """
    squares = f"SUM(({number} - ?) * ({number} - ?))"
    return f"CASE WHEN MIN({number}) < MAX({number}) THEN {squares} ELSE 0 END"


def moments_of(
    shift: float, counts: Sequence[Any], means: Sequence[Any], squares: Sequence[Any]
) -> Moments:
    """Return counts, means and variances of groups.

    Args:
        shift: What `squared_distances` was bound to.
        counts: Number of values of each group.
        means: Their means.
        squares: What `squared_distances` has added up.
    """
    count = np.array(counts, dtype=np.int64)
    mean, square = (np.array(own, dtype=np.float64) for own in (means, squares))
    with np.errstate(all="ignore"):
        variance = (square - count * (mean - shift) ** 2) / (count - 1)
    return Moments(count, mean, np.where(count > 1, np.maximum(variance, 0.0), np.nan))


def curves(view: ResultsView, key: str, by: Column | None, most: int) -> Sequence[Curve]:
    """Return means of what was logged, by step; see `Results.curves`."""
    if key not in view.logged():
        return []
    name, kind = view.logged()[key]
    quote, table = view.transaction.quote, view.transaction.quote(view.entry.series_table)
    value, step = view.bounded(f"s.{quote(name)}", kind), "COALESCE(s.step, s.seq)"
    last = view.transaction.rows(f"SELECT MAX({step}) FROM {table} AS s")[0][0] or 0
    width = 1
    while last >= most * width:
        width *= 2  # so that a mask of bits tells the bin
    bins = f"{step} - ({step} & {width - 1})" if width > 1 else step
    group = "0" if by is None else view.columns[by.name].sql
    shift = view.some(value, f"{table} AS s")
    sql = (
        f"SELECT g, b, COUNT(m), AVG(m), {squared_distances('m')} "
        f"FROM (SELECT {group} AS g, {bins} AS b, {value} AS m FROM {view.tables} "
        f"JOIN {table} AS s ON s.id_run = e.id_run WHERE {step} >= 0) AS q "
        "WHERE m IS NOT NULL GROUP BY g, b ORDER BY g, b"
    )
    makers: list[Maker] = [list if by is None else view.maker(view.columns[by.name].kind)]
    groups, *found = view.transaction.select(sql, [*makers, *[list] * 4], [shift, shift])
    return _curves_of(list(groups), found, shift, by is None)


def _curves_of(
    groups: Sequence[Any], found: Sequence[Sequence[Any]], shift: float, is_one: bool
) -> list[Curve]:
    lines, start = [], 0
    for group, members in itertools.groupby(groups):
        stop = start + sum(1 for _ in members)
        steps, *sums = (column[start:stop] for column in found)
        own = moments_of(shift, *sums)
        lines.append(Curve(None if is_one else group, [*map(int, steps)], own))
        start = stop
    return lines
