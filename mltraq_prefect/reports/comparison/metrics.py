"""What is compared between two groups of runs: a number of each, or what each predicts."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.comparison.differences import (
    Difference,
    NoVariation,
    paired_t,
    welch_t,
)
from mltraq_prefect.reports.comparison.predictions import (
    Predicted,
    accuracy,
    bootstrap,
    joined,
    mcnemar,
)
from mltraq_prefect.reports.comparison.question import Question
from mltraq_prefect.reports.comparison.ranks import rank_sum, signed_rank
from mltraq_prefect.reports.comparison.samples import Matched
from mltraq_prefect.reports.numbers import Floats
from mltraq_prefect.texts import counted

_TESTS: dict[tuple[str, bool], tuple[str, Callable[[Floats, Floats, float], Difference]]] = {
    ("t", True): ("paired t", paired_t),
    ("t", False): ("Welch t", welch_t),
    ("wilcoxon", True): ("signed rank", signed_rank),
    ("wilcoxon", False): ("rank sum", rank_sum),
}
"""Name and function, by the test that is asked for and whether there are pairs."""


class Compared(NamedTuple):
    """A comparison of two groups.

    Attributes:
        test: Name of the test.
        difference: What it found.
        n: Number of runs or samples of the group.
        baseline_n: The same of the group that it is compared with.
        value: Mean or score of the group.
        baseline_value: That of the other group.
    """

    test: str
    difference: Difference
    n: int
    baseline_n: int
    value: float
    baseline_value: float


class Metric(Protocol):
    """A column that can be compared between groups of rows."""

    def compare(self, matched: Matched, names: tuple[str, str]) -> Compared:
        """Return the comparison of the rows of two groups, with their names for errors."""
        ...


class NumericMetric:
    """A number of each run.

    Args:
        frame: A row a run, all of which have the number.
        question: What is asked of it.
    """

    def __init__(self, frame: pd.DataFrame, question: Question) -> None:
        self._values = _numbers(frame[question.metric])
        self._question = question

    @staticmethod
    def usable(column: pd.Series[Any]) -> pd.Series[bool]:
        """Return which rows have a finite number.

        Raises:
            InvalidInput: Some have something else.
        """
        return pd.Series(np.isfinite(_numbers(column)).tolist(), dtype=bool)

    def compare(self, matched: Matched, names: tuple[str, str]) -> Compared:
        """Return the comparison of the rows of two groups.

        Raises:
            InvalidInput: There are too few, or they do not vary.
        """
        asked, paired = self._question, bool(self._question.pair_on)
        own, other = (self._values[rows] for rows in (matched.own, matched.other))
        for values, name in zip((own, other), names, strict=True):
            if values.size < 2:
                what = f"pair of {names[0]} and {names[1]}" if paired else f"run of {name}"
                raise InvalidInput(
                    f"there is one {what}: nothing tells how far {asked.metric!r} would vary by "
                    "chance; at least 2 are needed, such as of several seeds or folds"
                )
        test, function = _TESTS[asked.chosen_test, paired]
        try:
            difference = function(own, other, asked.confidence)
        except NoVariation:
            raise InvalidInput(self._no_variation(own.size, names)) from None
        means = float(own.mean()), float(other.mean())
        return Compared(test, difference, own.size, other.size, *means)

    def _no_variation(self, count: int, names: tuple[str, str]) -> str:
        metric, both = repr(self._question.metric), " and ".join(names)
        if self._question.pair_on:
            what = f"{metric} differs by the same amount in all {count:,} pairs of {both}"
        else:
            what = f"{metric} is the same in all runs of a group, for {both}"
        return f"{what}: without variation nothing tells whether a difference is due to chance"


class PredictedMetric:
    """What each run predicts of samples.

    Args:
        frame: A row a run, all of which have predictions.
        question: What is asked of it.
    """

    def __init__(self, frame: pd.DataFrame, question: Question) -> None:
        self._predictions = frame[question.metric]
        self._targets = frame[question.target] if isinstance(question.target, str) else None
        self._question = question

    @staticmethod
    def usable(column: pd.Series[Any]) -> pd.Series[bool]:
        """Return which rows have predictions."""
        return ~column.map(_is_missing).astype(bool)

    def compare(self, matched: Matched, names: tuple[str, str]) -> Compared:
        """Return the comparison of the rows of two groups.

        Raises:
            InvalidInput: They are no predictions of the same samples.
        """
        asked = self._question
        if not asked.pair_on and (matched.own.size, matched.other.size) != (1, 1):
            raise InvalidInput(
                f"{names[0]} has {counted(matched.own.size, 'run')}, and {names[1]} "
                f"{matched.other.size:,}: give pair_on= the columns, such as a fold, that say "
                "which runs predict the same samples"
            )
        rows = zip(matched.own, matched.other, strict=True)
        said = joined([self._pair(*pair, names) for pair in rows])
        score = asked.score or accuracy
        if asked.chosen_test == "mcnemar":
            test, difference = "McNemar", mcnemar(said, asked.confidence)
        else:
            test = "paired bootstrap"
            difference = bootstrap(said, score, asked.confidence, asked.seed)
        scores = (float(score(said.targets, part)) for part in (said.own, said.other))
        return Compared(test, difference, len(said.targets), len(said.targets), *scores)

    def _pair(self, own: int, other: int, names: tuple[str, str]) -> Predicted:
        targets = self._target(own, names[0])
        if self._targets is not None and not np.array_equal(targets, self._target(other, names[1])):
            raise InvalidInput(
                f"runs of {names[0]} and {names[1]} that are a pair have different values of "
                f"{self._question.target!r}: they do not predict the same samples"
            )
        predicted = []
        for row, name in zip((own, other), names, strict=True):
            found = self._array(self._predictions.iloc[row], self._question.metric, name)
            if len(found) != len(targets):
                raise InvalidInput(
                    f"a run of {name} has {len(found):,} {self._question.metric!r} for "
                    f"{len(targets):,} samples"
                )
            if self._question.score is None and found.shape != targets.shape:
                raise InvalidInput(
                    f"{self._question.metric!r} of {name} have the shape {found.shape}, and the "
                    f"target {targets.shape}: accuracy is of one prediction a sample; give score= "
                    "a function for others, such as probabilities"
                )
            predicted.append(found)
        return Predicted(targets, predicted[0], predicted[1], (len(targets),))

    def _target(self, row: int, name: str) -> NDArray[Any]:
        if self._targets is None:
            return self._array(self._question.target, "target", "the call")
        return self._array(self._targets.iloc[row], self._question.target, name)

    @staticmethod
    def _array(value: Any, column: str, name: str) -> NDArray[Any]:
        if isinstance(value, (bytes, bytearray, memoryview)):
            raise InvalidInput(
                f"{column!r} of {name} is stored bytes; session.frame and session.load give the "
                "array that they stand for"
            )
        found = np.asarray(value)
        if found.ndim == 0 or not len(found):
            raise InvalidInput(f"{column!r} of {name} is not an array with a value for each sample")
        return found


def _numbers(column: pd.Series[Any]) -> Floats:
    """Return a column as numbers, NaN where there is none.

    Raises:
        InvalidInput: It has something else.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    values = [np.nan if _is_missing(value) else value for value in column]
    strange = next((v for v in values if not isinstance(v, (Real, Decimal, np.bool_))), None)
    if strange is not None:
        raise InvalidInput(
            f"{column.name!r} has values of type {type(strange).__name__}, which are not numbers; "
            "to compare predictions, give target= what is true of the samples"
        )
    return np.array(values, dtype=np.float64)


def _is_missing(value: Any) -> bool:
    """Return whether a cell has nothing, as frames have it: None, NaN, NA or NaT."""
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and np.isnan(value))
    )
