"""A study: the results of an experiment, and what of them is to be looked at."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.reports.study.gaps import Gaps
from mltraq_prefect.reports.study.results import LARGEST, Column, Header, Results
from mltraq_prefect.reports.wording import plain

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

REPLICATES = frozenset(
    ("seed", "random_state", "replicate", "repeat", "repetition", "trial", "fold", "split")
)
"""Params of these names tell runs of one kind apart; the runs are averaged over them."""

SPLITS = frozenset(("dataset", "data", "dataset_name", "task", "problem", "benchmark"))
"""Params of these names divide the work: runs of different ones are never averaged."""

Kind = Literal["number", "time", "category"]

_DOTTED = re.compile(r"^(?:[a-z_]\w*\.)+(?=_*[A-Z]\w*(?:\(|$))")
"""What is before the name of a class: ``sklearn.svm._classes.`` of ``sklearn.svm._classes.SVC``."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a person wants to see; None leaves it to the study.

    Attributes:
        metric: Name of a column of numbers.
        lower: Whether lower is better.
        by: Names of the params that make the groups.
        shown: Keys of the fields whose numbers are shown; the first is the metric if none is named.
    """

    metric: str | None = None
    lower: bool | None = None
    by: tuple[str, ...] | None = None
    shown: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Param:
    """A param that varies.

    Attributes:
        column: Its column.
        kind: What its values are.
        levels: Distinct values in order; of None the text that it is shown as.
        is_partial: Whether some runs do not have it.
        none: What None is shown as, if it is a value of it; else empty.
    """

    column: Column
    kind: Kind
    levels: Sequence[Any]
    is_partial: bool
    none: str

    @property
    def name(self) -> str:
        """Name of its column."""
        return self.column.name

    @property
    def label(self) -> str:
        """What it is called for a person."""
        return self.column.key

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

        Metrics are floats, without those that the database leaves out of means. Params that are
        None have a text for it.
        """
        read = self._read
        metrics = {own.name: floats(read[own.name]) for own in self.metrics}
        params = {name: self.gaps.filled(read[name]) for name in self.gaps.texts}
        return read.assign(**metrics, **params)

    @cached_property
    def _read(self) -> pd.DataFrame:
        params = [own for own in self.columns if own.source == "param"]
        return self.results.sample([*params, *self.metrics], SAMPLE)

    @cached_property
    def gaps(self) -> Gaps:
        """Which runs do not have a param, and in which it is None."""
        params = [own for own in self.columns if own.source == "param" and not _is_part(own)]
        read = self._read[[own.name for own in params]]
        # A number that each run has drawn anew makes no families.
        most = len(read.drop_duplicates()) / 2
        kinds = {own.name: _kind(own, read[own.name].dropna().tolist()) for own in params}
        few = (name for name, kind in kinds.items() if kind != "time")
        return Gaps(
            read, [own for own in few if kinds[own] == "category" or read[own].nunique() <= most]
        )

    @cached_property
    def compute_s(self) -> float:
        """Seconds of compute of all runs; estimated from the sample if they were not added up."""
        if not self.is_compute_estimated:
            return sum(total.total_s for total in self.header.states.values())
        times = next((own.name for own in self.metrics if own.source == "ledger"), None)
        mean = np.nan if times is None else self.sample[times].sum() / max(len(self.sample), 1)
        return float(np.nan_to_num(mean * self.header.runs))

    @property
    def is_compute_estimated(self) -> bool:
        """Whether `compute_s` is not exact, as there are very many runs."""
        return any(np.isnan(total.total_s) for total in self.header.states.values())

    @property
    def is_cut(self) -> bool:
        """Whether only the last runs are read."""
        return self.header.read < self.header.runs

    @property
    def is_sampled(self) -> bool:
        """Whether `sample` has not all of the runs."""
        return len(self.sample) < self.header.runs

    @cached_property
    def metric(self) -> Column | None:
        """The metric that runs are compared by; None if no run has a number.

        How long runs took says nothing of what has failed: it is none if all have.
        """
        if self.choice.metric is not None:
            return self._by_name[self.choice.metric]
        if self._chosen:
            return self._chosen[0]
        fits = [own for own in self.metrics if own.source == "field" or self._has_results]
        known = [own for own in fits if self.sample[own.name].notna().any()]
        new = [own for own in known if not self._repeats_param(own)]
        return likely_metric(self.telling or new or known)

    @property
    def _has_results(self) -> bool:
        return any(state not in ("failed", "pending") for state in self.header.states)

    @cached_property
    def _chosen(self) -> list[Column]:
        """The metrics that a person wants to see, in that order."""
        fields = {own.key: own for own in self.metrics if own.source == "field"}
        return [fields[key] for key in self.choice.shown or () if key in fields]

    @cached_property
    def telling(self) -> list[Column]:
        """The fields of numbers that tell runs apart: they vary, and repeat no param."""
        fields = [own for own in self.metrics if own.source == "field"]
        return [own for own in fields if self._varies(own) and not self._repeats_param(own)]

    @property
    def shown(self) -> list[Column]:
        """The metrics to be shown, of which the first decides."""
        if self.metric is None:
            return []
        others = self._chosen if self.choice.shown else self.telling
        return [self.metric, *(own for own in others if own != self.metric)]

    def _varies(self, column: Column) -> bool:
        values = self.sample[column.name].dropna()
        return len(values) > 1 and bool(values.min() < values.max())

    def _repeats_param(self, column: Column) -> bool:
        values = self.sample[column.name].dropna()
        params = (self.sample[own.name] for own in self.columns if own.source == "param")
        return len(values) > 1 and any(
            values.equals(param[values.index].astype(values.dtype))
            for param in params
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
        none = self.gaps.texts.get(column.name, "")
        is_last = none in levels and kind == "category"
        if is_last:
            levels.remove(none)
        if kind != "category" or column.is_numeric:
            levels.sort()
        levels += [none] * is_last
        return Param(column, kind, levels, len(known) < len(values), none)

    @property
    def grouping(self) -> list[Param]:
        """The params whose values are the configurations that are compared."""
        if self.choice.by is not None:
            return [param for param in self.params if param.name in self.choice.by]
        kept = [param for param in self.params if not param.is_replicate and not param.is_split]
        return kept or [param for param in self.params if not param.is_split]

    def is_alone(self, kind: Kind) -> bool:
        """Return whether configurations differ in one param, and it is of a kind."""
        return len(self.grouping) == 1 and self.grouping[0].kind == kind

    @property
    def parts(self) -> int:
        """Into how many parts the work is divided; 0 if nothing divides it."""
        return 0 if self.split is None else len(self.split.levels) + self.split.is_partial

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
    is_number = column.is_numeric and column.kind != "bool"
    return "number" if is_number and not any(isinstance(own, str) for own in levels) else "category"


def _is_part(column: Column) -> bool:
    """Return whether a param is one of repetitions, or of parts of the work, by its name."""
    return column.key.lower() in REPLICATES | SPLITS


def configuration(names: Sequence[str], values: Sequence[Any], shown: Callable[[Any], str]) -> str:
    """Return the name of a configuration: the params that it has, such as ``model=svc, C=1``."""
    pairs = zip(names, values, strict=True)
    told = [f"{_cut(name)}={shown(value)}" for name, value in pairs if value is not None]
    return ", ".join(told) or (f"without {', '.join(names)}" if names else "all runs")


def short_value(value: Any) -> str:
    """Return a value for a label: of a class or function without the package that it is in."""
    return shown_value(_DOTTED.sub("", value) if isinstance(value, str) else value)


def shown_value(value: Any) -> str:
    """Return a value for a person."""
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds" if value.second else "minutes").removesuffix("+00:00")
    return _cut(str(value))


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
