"""Curves of what runs have logged: means by step, of some runs and rows if they are many."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from mltraq_prefect.reports.study.results import Column, Curve, Curves
from mltraq_prefect.storage.aggregates.results_groups import BOUND, SUMS, moments_of, sums_of
from mltraq_prefect.storage.aggregates.results_view import ResultsView
from mltraq_prefect.storage.aggregates.spread import Spread
from mltraq_prefect.storage.values.columns import Maker

MOST_RUNS = 1_000
MOST_ROWS = 100_000
"""Curves are of so many runs and rows of them at most, spread evenly over all."""

STEP = "COALESCE(s.step, s.seq)"


def curves(
    view: ResultsView, keys: Sequence[str], by: tuple[Column | None, Column | None], most: int
) -> Curves:
    """Return means of what was logged, by step; see `Results.curves`.

    Args:
        view: The runs.
        keys: What was logged.
        by: What divides the work, and what makes the groups of each part.
        most: About how many steps there are at most.
    """
    logged = view.logged()
    known = [key for key in keys if key in logged]
    if not known:
        return Curves({}, 0, is_whole=True, share=1.0)
    quote, spread = view.transaction.quote, view.spread(MOST_RUNS)
    table, share = _rows(view, spread)
    values = [view.bounded(f"s.{quote(logged[key][0])}", logged[key][1]) for key in known]
    part, group = ("0" if own is None else view.columns[own.name].sql for own in by)
    last, runs, *shifts = _extent(view, table, values)
    width = 1
    while last >= most * width:
        width *= 2  # so that a mask of bits tells the bin
    bins = f"{STEP} - ({STEP} & {width - 1})" if width > 1 else STEP
    chosen = ", ".join(f"{value} AS m{place}" for place, value in enumerate(values))
    sums = ", ".join(own for place in range(len(known)) for own in sums_of(f"m{place}"))
    sql = (
        f"SELECT p, g, b, {sums} FROM (SELECT {part} AS p, {group} AS g, {bins} AS b, {chosen} "
        f"FROM {table} WHERE {STEP} >= 0) AS q GROUP BY p, g, b ORDER BY p, g, b"
    )
    makers: list[Maker] = [
        _nothing if own is None else view.maker(view.columns[own.name].kind) for own in by
    ]
    bound = [shift for shift in shifts for _ in range(BOUND)]
    found = view.transaction.select(sql, [*makers, *[list] * (1 + SUMS * len(known))], bound)
    lines = {key: list(_curves_of(found, 3 + SUMS * place)) for place, key in enumerate(known)}
    return Curves(lines, int(runs), view.runs <= MOST_RUNS, share)


def _rows(view: ResultsView, spread: str) -> tuple[str, float]:
    """Return what rows of series are selected from, and which share of those of the runs it is."""
    series = view.transaction.quote(view.entry.series_table)
    tables = f"{spread} JOIN {series} AS s ON s.id_run = e.id_run"
    (longest, rows), *_ = view.transaction.rows(
        f"SELECT MAX(p.next_seq), SUM(p.next_seq - p.first_seq) FROM {spread} "
        f"JOIN experiment_series AS p ON p.id_experiment = {view.literal_id} "
        "AND p.id_run = e.id_run"
    )
    longest, rows = int(longest or 0), int(rows or 0)
    if rows <= MOST_ROWS:
        return tables, 1.0
    chosen = Spread.over(0, longest - 1, longest, max(MOST_ROWS * longest // rows, 1))
    tables = (  # in this order, as in `ResultsView.spread`
        f"{spread} CROSS JOIN {chosen.table('t')} CROSS JOIN {series} AS s "
        f"JOIN experiments AS y ON y.id_experiment = {view.literal_id} "
        f"AND s.id_run = e.id_run AND s.seq = {chosen.number('t')}"
    )
    return tables, 1 / chosen.width


def _extent(view: ResultsView, table: str, values: Sequence[str]) -> Sequence[Any]:
    """Return the last step, the number of runs, and the mean of each value, 0 if there is none."""
    means = ", ".join(f"AVG({value})" for value in values)
    sql = f"SELECT MAX({STEP}), COUNT(DISTINCT s.id_run), {means} FROM {table}"
    return [own or 0 for own in view.transaction.rows(sql)[0]]


def _nothing(cells: Sequence[Any]) -> list[Any]:
    return [None] * len(cells)


def _curves_of(found: Sequence[Sequence[Any]], at: int) -> Iterator[Curve]:
    rows = [row for row in zip(*found[:3], *found[at : at + SUMS], strict=True) if row[3]]
    for (part, group), members in itertools.groupby(rows, lambda row: row[:2]):
        _, _, steps, *sums = zip(*members, strict=True)
        yield Curve(group, [*map(int, steps)], moments_of(*sums), part)
