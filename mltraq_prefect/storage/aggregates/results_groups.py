"""Runs in groups that the database makes, and their means and variances."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mltraq_prefect.reports.study.results import Column, Grouped, Moments
from mltraq_prefect.storage.aggregates.results_view import ResultsView
from mltraq_prefect.storage.values.columns import Maker

MOST_GROUPED = 50_000
"""Runs whose groups are those of all, if a quick answer is wanted and they are very many."""


class Asked(NamedTuple):
    """Which groups are asked for; see `Results.groups`."""

    by: Sequence[Column]
    metrics: Sequence[Column]
    part: Column | None
    descending: bool
    most: int
    parts: int


def groups(view: ResultsView, asked: Asked) -> Sequence[Grouped]:
    """Return the runs in groups, part by part; see `Results.groups`."""
    keys = [*([] if asked.part is None else [asked.part]), *asked.by]
    is_quick = view.is_quick and view.is_large
    tables = [view.spread(MOST_GROUPED)] if is_quick else view.stretches()
    shifts = _shifts(view, asked.metrics, tables[0] if len(tables) == 1 else view.tables)
    makers = [view.maker(view.columns[own.name].kind) for own in keys]
    rest: list[Maker] = [list] * (5 + SUMS * len(asked.metrics))
    bound = [shift for shift in shifts for _ in range(BOUND)] * len(tables)
    found = view.transaction.select(_sql(view, asked, keys, tables), [*makers, *rest], bound)
    return list(_parts(asked, found))


def _sql(view: ResultsView, asked: Asked, keys: Sequence[Column], tables: Sequence[str]) -> str:
    names = [f"g{place}" for place in range(len(keys))]
    sums = [f"s{place}" for place in range(SUMS * len(asked.metrics))]
    of_part = "" if asked.part is None else "PARTITION BY g0"
    best = "s1 IS NULL, s1 " + ("DESC" if asked.descending else "ASC") + ", "
    ties = "".join(f", {name} IS NULL, {name}" for name in names)
    order = f"{best if asked.metrics else ''}runs DESC, first_state{ties}"
    own = [
        "c.*",
        f"COUNT(*) OVER ({of_part}) AS total",
        f"SUM(runs) OVER ({of_part}) AS part_runs",
        "SUM(runs) OVER () AS all_runs",
        f"ROW_NUMBER() OVER ({of_part} ORDER BY {order}) AS place",
    ]
    grouped = f"SELECT {', '.join(own)} FROM ({_grouped(view, asked, keys, tables)}) AS c"
    largest = "part_runs DESC" + ("" if asked.part is None else ", g0")
    ranked = f"SELECT p.*, DENSE_RANK() OVER (ORDER BY {largest}) AS part FROM ({grouped}) AS p"
    shown = [*names, "runs", "failed", "total", "all_runs", "part", *sums]
    return (
        f"SELECT {', '.join(shown)} FROM ({ranked}) AS o WHERE place <= {asked.most:d} "
        f"AND part <= {asked.parts:d} ORDER BY part, place"
    )


def _grouped(view: ResultsView, asked: Asked, keys: Sequence[Column], tables: Sequence[str]) -> str:
    """Return what selects the groups; of several stretches, first those of each by itself."""
    chosen = [f"{view.columns[own.name].sql} AS g{place}" for place, own in enumerate(keys)]
    chosen += [f"{view.number(own)} AS m{place}" for place, own in enumerate(asked.metrics)]
    runs = f"SELECT {', '.join([*chosen, 'r.state AS run_state'])} FROM "
    names, metrics = [f"g{place}" for place in range(len(keys))], range(len(asked.metrics))
    grouping = f" GROUP BY {', '.join(names)}" if names else ""
    failed = "COUNT(CASE WHEN run_state = 'failed' THEN 1 END)"
    own = [*names, "COUNT(*) AS runs", f"{failed} AS failed", "MIN(run_state) AS first_state"]
    make = _sums if len(tables) == 1 else _partial_sums
    own += [one for metric in metrics for one in make(metric)]
    parts = [f"SELECT {', '.join(own)} FROM ({runs}{one}) AS q{grouping}" for one in tables]
    if len(parts) == 1:
        return parts[0]
    counts = ["SUM(runs) AS runs", "SUM(failed) AS failed", "MIN(first_state) AS first_state"]
    own = [*names, *counts, *(one for metric in metrics for one in _totals(metric))]
    return f"SELECT {', '.join(own)} FROM ({' UNION ALL '.join(parts)}) AS u{grouping}"


def _sums(metric: int) -> list[str]:
    return _named(metric, sums_of(f"m{metric}"))


def _partial_sums(metric: int) -> list[str]:
    """Return what `_totals` needs of each stretch."""
    m = f"m{metric}"
    squares = f"SUM(({m} - ?) * ({m} - ?))"
    own = (f"COUNT({m})", f"AVG({m})", f"AVG({m} - ?)", squares, f"MIN({m})", f"MAX({m})")
    return [f"{one} AS {name}{metric}" for one, name in zip(own, _PARTIAL, strict=True)]


_PARTIAL = ("count", "mean", "away", "squares", "low", "high")


def _totals(metric: int) -> list[str]:
    """Return what `sums_of` returns, of stretches."""
    count, mean, away, squares, low, high = (f"{name}{metric}" for name in _PARTIAL)
    means = [f"SUM({count} * {own}) / NULLIF(SUM({count}), 0)" for own in (mean, away)]
    total = f"CASE WHEN MIN({low}) < MAX({high}) THEN SUM({squares}) ELSE 0 END"
    return _named(metric, (f"SUM({count})", *means, total))


def _named(metric: int, sums: Sequence[str]) -> list[str]:
    return [f"{own} AS s{SUMS * metric + place}" for place, own in enumerate(sums)]


def _parts(asked: Asked, found: Sequence[Sequence[Any]]) -> Iterator[Grouped]:
    *keys, runs, failed, totals, read, parts = found[: len(found) - SUMS * len(asked.metrics)]
    sums = found[len(found) - SUMS * len(asked.metrics) :]
    start = 0
    for _, members in itertools.groupby(parts):
        own = slice(start, start + sum(1 for _ in members))
        start = own.stop
        values = [column[own] for column in keys]
        part = None if asked.part is None else values.pop(0)[0]
        own_runs, own_failed = (np.array(column[own], dtype=np.int64) for column in (runs, failed))
        moments = {
            metric.name: moments_of(*(column[own] for column in sums[SUMS * n : SUMS * (n + 1)]))
            for n, metric in enumerate(asked.metrics)
        }
        tuples = list(zip(*values, strict=True)) if values else [()] * len(own_runs)
        total, all_runs = int(totals[own.start]), int(read[own.start])
        yield Grouped(asked.by, tuples, own_runs, own_failed, moments, total, part, all_runs)


def _shifts(view: ResultsView, metrics: Sequence[Column], tables: str) -> list[float]:
    """Return a value of each metric: squares are taken of what it lies away from that.

    Squares of the values themselves would lose the digits in which values differ.
    """
    return [_some(view, view.number(own), tables) for own in metrics]


def _some(view: ResultsView, number: str, tables: str) -> float:
    """Return a value of an expression; 0 if there is none."""
    sql = f"SELECT m FROM (SELECT {number} AS m FROM {tables}) AS q WHERE m IS NOT NULL LIMIT 1"
    rows = view.transaction.rows(sql)
    return float(rows[0][0]) if rows else 0.0


SUMS, BOUND = 4, 3
"""How many expressions `sums_of` returns, and how often a number is bound in them."""


def sums_of(number: str) -> tuple[str, str, str, str]:
    """Return what `moments_of` needs: a count, a mean, and what values lie away, and its squares.

    That is from a bound number. Where all values are the same, the sum of squares is 0, and so is
    the variance that is made of it: of squares, rounding would leave a little, and with it a
    difference that looks significant.
    """
    squares = f"SUM(({number} - ?) * ({number} - ?))"
    away = f"CASE WHEN MIN({number}) < MAX({number}) THEN {squares} ELSE 0 END"
    return f"COUNT({number})", f"AVG({number})", f"AVG({number} - ?)", away


def moments_of(
    counts: Sequence[Any], means: Sequence[Any], away: Sequence[Any], squares: Sequence[Any]
) -> Moments:
    """Return counts, means and variances of groups.

    Args:
        counts: Number of values of each group.
        means: Their means.
        away: Means of what they lie away from a number. A difference of `means` from it would have
            the rounding of these, which can be as much as values differ by.
        squares: Sums of the squares of that.
    """
    count = np.array(counts, dtype=np.int64)
    mean, shift, square = (np.array(own, dtype=np.float64) for own in (means, away, squares))
    with np.errstate(all="ignore"):
        variance = (square - count * shift**2) / (count - 1)
    return Moments(count, mean, np.where(count > 1, np.maximum(variance, 0.0), np.nan))
