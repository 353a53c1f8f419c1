"""A study: the results of an experiment, and what of them is to be looked at."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.reports.groups import REPLICATES
from mltraq_prefect.reports.study.results import LARGEST, Column, Header, Results

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 20_000
"""Figures of single runs and of params show no more runs than this."""

LOWER_IS_BETTER = re.compile(
    r"(^|_)(loss|err|error|errors|mse|rmse|mae|mape|perplexity|ppl|cost|regret|latency|duration"
    r"|time|seconds|nll|brier|wer|cer|fid)(_|$)",
    re.IGNORECASE,
)
"""Metrics of these names are better if they are lower, unless a person says otherwise."""

KNOWN_METRICS = re.compile(
    r"(^|_)(accuracy|acc|score|auc|roc_auc|f1|r2|precision|recall|reward|loss|rmse|mse|mae|error)(_|$)",
    re.IGNORECASE,
)

SPLITS = frozenset(("dataset", "data", "dataset_name", "task", "problem", "benchmark"))
"""Params of these names divide the work: runs of different ones are never averaged."""

Kind = Literal["number", "time", "category"]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person wants to see; None leaves it to the study.

    Attributes:
        metric: Name of a column of numbers.
        lower: Whether lower is better.
        by: Names of the params that make the groups.
    """

    metric: str | None = None
    lower: bool | None = None
    by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Param:
    """A param that varies.

    Attributes:
        column: Its column.
        kind: What its values are.
        levels: Distinct values in order, without None.
        is_partial: Whether some runs do not have it.
    """

    column: Column
    kind: Kind
    levels: Sequence[Any]
    is_partial: bool

    @property
    def name(self) -> str:
        """Name of its column."""
        return self.column.name

    @property
    def is_replicate(self) -> bool:
        """Whether it tells apart what is done again and again: seeds, folds, times."""
        return self.kind == "time" or self.column.key.lower() in REPLICATES

    @property
    def is_split(self) -> bool:
        """Whether it divides the work, as a data set does."""
        is_name = self.kind == "category" and self.column.kind != "json"
        return is_name and self.column.key.lower() in SPLITS


class Study:
    """The results of an experiment, and what of them is to be looked at.

    Args:
        results: Where they come from.
        choice: What a person wants to see.

    Raises:
        InvalidInput: A chosen metric or param is not there.
    """

    def __init__(self, results: Results, choice: Choice | None = None) -> None:
        self.results = results
        self.choice = choice or Choice()
        self.columns = list(results.columns())
        self._by_name = {column.name: column for column in self.columns}
        numeric = [column.name for column in self.metrics]
        chosen = [self.choice.metric] if self.choice.metric else []
        self._refuse(unknown_name(chosen, numeric), "no numeric field or time")
        self._refuse(unknown_name(self.choice.by or (), self._by_name), "no column")

    def _refuse(self, trouble: str | None, what: str) -> None:
        if trouble is not None:
            raise InvalidInput(f"{what} {trouble}")

    @cached_property
    def header(self) -> Header:
        """The experiment as a whole."""
        return self.results.header()

    @property
    def metrics(self) -> list[Column]:
        """The columns of numbers that runs are compared by: fields, and how long they took."""
        fields = [own for own in self.columns if own.source == "field" and own.is_numeric]
        times = [own for own in self.columns if own.key == "duration_s" and own.source == "ledger"]
        return fields + times

    @cached_property
    def sample(self) -> pd.DataFrame:
        """Params and metrics of runs in order; of some, if there are many.

        Metrics are floats, without those that the database leaves out of means.
        """
        params = [own for own in self.columns if own.source == "param"]
        sample = self.results.sample([*params, *self.metrics], SAMPLE)
        return sample.assign(**{own.name: floats(sample[own.name]) for own in self.metrics})

    @property
    def is_sampled(self) -> bool:
        """Whether `sample` has not all of the runs."""
        return len(self.sample) < self.header.runs

    @cached_property
    def metric(self) -> Column | None:
        """The metric that runs are compared by; None if no run has a number."""
        if self.choice.metric is not None:
            return self._by_name[self.choice.metric]
        known = [own for own in self.metrics if self.sample[own.name].notna().any()]
        varying = [own for own in known if own.source == "field" and self._varies(own)]
        return likely_metric(varying or known)

    def _varies(self, column: Column) -> bool:
        values = self.sample[column.name].dropna()
        if len(values) < 2 or values.min() == values.max():
            return False
        repeats = (self.sample[own.name] for own in self.columns if own.source == "param")
        return not any(
            values.equals(param[values.index].astype(values.dtype))
            for param in repeats
            if param.dtype.kind in "if" and param.notna().all()
        )

    @property
    def lower(self) -> bool:
        """Whether lower values of the metric are better."""
        if self.choice.lower is not None:
            return self.choice.lower
        return self.metric is not None and bool(LOWER_IS_BETTER.search(self.metric.key))

    @cached_property
    def params(self) -> list[Param]:
        """The params that vary."""
        found = (self._param(own) for own in self.columns if own.source == "param")
        return [param for param in found if len(param.levels) + param.is_partial > 1]

    def _param(self, column: Column) -> Param:
        values = self.sample[column.name]
        known = values.dropna()
        levels: list[Any] = list(dict.fromkeys(known.tolist()))
        kind = _kind(column, levels)
        if kind != "category" or len({type(level) for level in levels}) == 1:
            levels = sorted(levels) if kind != "category" else levels
        return Param(column, kind, levels, len(known) < len(values))

    @property
    def grouping(self) -> list[Param]:
        """The params whose values are the configurations that are compared."""
        if self.choice.by is not None:
            return [param for param in self.params if param.name in self.choice.by]
        kept = [param for param in self.params if not param.is_replicate and not param.is_split]
        return kept or [param for param in self.params if not param.is_split]

    @property
    def split(self) -> Param | None:
        """The param that divides the work, if one does and is not among the chosen groups."""
        chosen = self.choice.by or ()
        return next((own for own in self.params if own.is_split and own.name not in chosen), None)


def floats(column: pd.Series[Any]) -> pd.Series[float]:
    """Return a column of numbers or truth values as floats, NaN where means have no value."""
    if column.dtype == object:
        column = column.map({True: 1.0, False: 0.0})
    numbers = column.astype(np.float64)
    return numbers.where(numbers.abs() < LARGEST)


def some_of(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return a frame, or so many of its rows, drawn by chance: in a grid values come in turn."""
    return frame if len(frame) <= most else frame.sample(most, random_state=0).sort_index()


def likely_metric(columns: Sequence[Column]) -> Column | None:
    """Return what is probably the metric that matters, by name and kind of the columns."""
    fields = [own for own in columns if own.source == "field" and own.is_numeric]
    known = [own for own in fields if KNOWN_METRICS.search(own.key)]
    floats = [own for own in fields if own.kind == "float"]
    times = [own for own in columns if own.key == "duration_s" and own.source == "ledger"]
    return next(iter([*known, *floats, *fields, *times]), None)


def _kind(column: Column, levels: Sequence[Any]) -> Kind:
    if levels and all(isinstance(level, datetime.date) for level in levels):
        return "time"
    return "number" if column.is_numeric and column.kind != "bool" else "category"


def configuration(names: Sequence[str], values: Sequence[Any]) -> str:
    """Return the name of a configuration: the params that it has, such as ``model=svc, C=1``."""
    pairs = zip(names, values, strict=True)
    told = [f"{name}={shown_value(value)}" for name, value in pairs if value is not None]
    return ", ".join(told) or "all runs"


def shown_value(value: Any) -> str:
    """Return a value for a person."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds" if value.second else "minutes").removesuffix("+00:00")
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
