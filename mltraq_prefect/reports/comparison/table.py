"""The table of all comparisons that a question asks for."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.comparison.columns import EXPERIMENT, columns_of, is_several
from mltraq_prefect.reports.comparison.metrics import Metric, NumericMetric, PredictedMetric
from mltraq_prefect.reports.comparison.question import Question
from mltraq_prefect.reports.comparison.samples import Samples
from mltraq_prefect.reports.numbers import Floats
from mltraq_prefect.texts import counted

MOST_COMPARISONS = 5_000
"""Of all groups with each other, if there is no baseline."""

COLUMNS = [
    *("group", "baseline", "effect", "standard_error", "ci_low", "ci_high", "p", "p_holm"),
    *("n", "baseline_n", "value", "baseline_value", "dropped", "test"),
]
"""As `compare` documents them."""

_logger = logging.getLogger("mltraq_prefect")


def answer(data: Any, question: Question) -> pd.DataFrame:
    """Return a row for each comparison; see `compare`.

    Raises:
        InvalidInput: The data do not answer the question.
    """
    by = question.by or ((EXPERIMENT,) if is_several(data) else ())
    if not by:
        raise InvalidInput("give by= the column whose values are compared, such as by='model'")
    frame = columns_of(data, list(dict.fromkeys((*question.columns, *by))))
    metric = PredictedMetric if question.of_predictions else NumericMetric
    frame = _usable(frame, metric.usable(frame[question.metric]), question)
    samples = Samples(frame, by, question.pair_on)
    pairs = list(_pairs(samples, question))
    table = pd.DataFrame(_rows(samples, metric(frame, question), pairs))
    table["p_holm"] = holm(table["p"].to_numpy())
    return table[COLUMNS]


def holm(p: Floats) -> Floats:
    """Return p-values adjusted for their number by Holm's method, shape (comparisons,).

    Args:
        p: P-values, shape (comparisons,).
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _usable(frame: pd.DataFrame, usable: pd.Series[bool], question: Question) -> pd.DataFrame:
    """Return the rows that have the metric."""
    if usable.all():
        return frame
    count, total = int((~usable).sum()), len(frame)
    what = f"no {question.metric!r} that is finite in {count:,} of {counted(total, 'row')}"
    if question.nan_policy == "omit" and count < total:
        _logger.warning("compare: %s; they are left out", what)
        return frame[usable].reset_index(drop=True)
    raise InvalidInput(
        f"{what}: these runs may have failed or be pending. To compare without them, filter the "
        "data or give nan_policy='omit' (--nan-policy omit)"
    )


def _pairs(samples: Samples, question: Question) -> Iterator[tuple[int, int]]:
    """Yield the places of each group and the group that it is compared with."""
    count = len(samples.labels)
    if question.baseline is not None:
        baseline = samples.place_of(question.baseline)
        yield from ((place, baseline) for place in range(count) if place != baseline)
        return
    if count * (count - 1) // 2 > MOST_COMPARISONS:
        raise InvalidInput(
            f"{count:,} groups make {count * (count - 1) // 2:,} comparisons, such as of "
            f"{samples.name(0)} with {samples.name(1)}: give a baseline, or fewer groups"
        )
    yield from ((later, earlier) for earlier, later in itertools.combinations(range(count), 2))


def _rows(
    samples: Samples, metric: Metric, pairs: Iterable[tuple[int, int]]
) -> list[dict[str, Any]]:
    rows, incomplete = [], 0
    for place, other in pairs:
        matched = samples.match(place, other)
        names = (samples.name(place), samples.name(other))
        found = metric.compare(matched, names)
        rows.append(
            {
                "group": samples.labels[place],
                "baseline": samples.labels[other],
                "effect": found.difference.effect,
                "standard_error": found.difference.standard_error,
                "ci_low": found.difference.low,
                "ci_high": found.difference.high,
                "p": found.difference.p,
                "n": found.n,
                "baseline_n": found.baseline_n,
                "value": found.value,
                "baseline_value": found.baseline_value,
                "dropped": matched.dropped,
                "test": found.test,
            }
        )
        incomplete += matched.dropped > 0
    if incomplete:
        dropped = sum(row["dropped"] for row in rows)
        _logger.warning(
            "compare: left out for want of a partner: %s, in %s of %s; see the column dropped",
            counted(dropped, "row"),
            f"{incomplete:,}",
            counted(len(rows), "comparison"),
        )
    return rows
