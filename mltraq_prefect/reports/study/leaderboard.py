"""Configurations, the best first, and how sure the order is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mltraq_prefect.reports.numbers import LEVEL
from mltraq_prefect.reports.study.results import Column, Condition, Grouped, Moments
from mltraq_prefect.reports.study.study import (
    Param,
    Study,
    configuration,
    short_value,
    shown_value,
)
from mltraq_prefect.requirements import is_importable

TOP = 20
MOST_METRICS = 6
MOST_PANELS = 12


@dataclass(frozen=True, slots=True)
class Row:
    """A configuration.

    Attributes:
        label: Its params.
        values: Values of the params, in the order of the columns.
        runs: Number of runs.
        failed: How many of them have failed.
        cells: Mean, standard error and number of values of each metric.
        like_best: Whether it is not significantly worse than the best one; None if unknown.
    """

    label: str
    values: tuple[Any, ...]
    runs: int
    failed: int
    cells: Sequence[tuple[float, float, int]]
    like_best: bool | None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The best configurations.

    Attributes:
        panel: What they have in common, such as a data set; empty if nothing divides the work.
        where: The same as conditions.
        by: The params whose values make the configurations.
        metrics: The metrics, of which the first decides.
        rows: The configurations, the best first.
        total: Number of all configurations.
        lower: Whether lower is better.
        read: Number of runs of all parts that this is made of.
    """

    panel: str
    where: Sequence[Condition]
    by: Sequence[Column]
    metrics: Sequence[Column]
    rows: Sequence[Row]
    total: int
    lower: bool
    read: int

    @property
    def is_marked(self) -> bool:
        """Whether it is known which differences are not significant."""
        return any(row.like_best is not None for row in self.rows[1:])

    @property
    def is_unsure(self) -> bool:
        """Whether it is known of some configurations, and not of others."""
        return any(self.mark(row) == "?" for row in self.rows)

    def mark(self, row: Row) -> str:
        """Return what tells whether a configuration is significantly worse than the first."""
        if not self.is_marked or row is self.rows[0] or not row.cells[0][2]:
            return ""
        return {None: "?", True: "≈", False: ""}[row.like_best]


def leaderboards(study: Study) -> list[Leaderboard]:
    """Return a leaderboard for each part of the work; one, if nothing divides it.

    The database tells the parts: a sample may have none of the runs of a small one. Of many, those
    with the most runs are shown.
    """
    split, metrics = study.split, study.shown[:MOST_METRICS]
    by = [param.column for param in study.grouping]
    part = None if split is None else split.column
    found = study.results.groups(
        by, metrics, part=part, descending=not study.lower, most=TOP, parts=MOST_PANELS
    )
    boards = [
        Leaderboard(
            "" if split is None else _panel(split, own.part),
            () if split is None else [Condition(split.column, "=", own.part)],
            by,
            metrics,
            _rows(study, own, metrics),
            own.total,
            study.lower,
            own.read,
        )
        for own in found
    ]
    levels = [] if split is None else split.levels
    places = {level: place for place, level in enumerate(levels)}
    order = sorted(
        zip(found, boards, strict=True), key=lambda own: places.get(own[0].part, len(places))
    )
    return [board for _, board in order]


def _panel(split: Param, level: Any) -> str:
    return f"without {split.label}" if level is None else f"{split.label}={shown_value(level)}"


def _rows(study: Study, found: Grouped, metrics: Sequence[Column]) -> list[Row]:
    labels = _labels(study, found)
    marks = _like_best(found.metrics[metrics[0].name]) if metrics else [None] * len(found.values)
    columns = [found.metrics[metric.name] for metric in metrics]
    errors = [column.error for column in columns]
    return [
        Row(
            labels[place],
            values,
            int(found.runs[place]),
            int(found.failed[place]),
            [
                (float(own.mean[place]), float(error[place]), int(own.count[place]))
                for own, error in zip(columns, errors, strict=True)
            ],
            marks[place],
        )
        for place, values in enumerate(found.values)
    ]


def _labels(study: Study, found: Grouped) -> list[str]:
    """Return the names of groups: short ones, if these tell them apart."""
    names = [column.key for column in found.by]
    known = [_known(study, found, values) for values in found.values]
    short, full = (
        [configuration(names, values, shown) for values in known]
        for shown in (short_value, shown_value)
    )
    return short if len(set(short)) == len(short) else full


def _known(study: Study, found: Grouped, values: Sequence[Any]) -> list[Any]:
    """Return the params of a group, with a text for those that are None."""
    run = {own.name: value for own, value in zip(found.by, values, strict=True)}
    if study.split is not None:
        run[study.split.name] = found.part
    return [
        study.gaps.told(name, run) if value is None else value
        for name, value in list(run.items())[: len(values)]
    ]


def _like_best(moments: Moments) -> list[bool | None]:
    """Return whether each group is not significantly worse than the first, by Welch and Holm."""
    if not is_importable("scipy") or not len(moments.count):
        return [None] * len(moments.count)
    from mltraq_prefect.reports.comparison.differences import Sample, welch
    from mltraq_prefect.reports.comparison.table import holm

    samples = [
        Sample(int(count), float(mean), float(variance))
        for count, mean, variance in zip(moments.count, moments.mean, moments.variance, strict=True)
    ]
    known = [
        place
        for place, own in enumerate(samples)
        if own.size > 1
        and samples[0].size > 1
        and own.variance + samples[0].variance > 0
        and math.isfinite(own.mean)
    ]
    p = np.array([welch(samples[place], samples[0], 1 - LEVEL).p for place in known if place])
    marks: list[bool | None] = [None] * len(samples)
    for place, adjusted in zip([place for place in known if place], holm(p), strict=True):
        marks[place] = bool(adjusted > LEVEL)
    for place, own in enumerate(samples):
        if place and own.size and own.mean == samples[0].mean:
            marks[place] = True
    return marks
