"""What is to be compared, checked as far as that needs no data."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from mltraq_prefect import arguments
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.comparison.predictions import Score

Test = Literal["t", "wilcoxon", "mcnemar", "bootstrap"]
NanPolicy = Literal["raise", "omit"]

OF_PREDICTIONS = ("mcnemar", "bootstrap")


def columns_of(argument: str, names: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return names of columns, of which a user may give one as text.

    Raises:
        InvalidInput: It is something else.
    """
    if isinstance(names, str) or names is None:
        return () if names is None else (names,)
    if not isinstance(names, Iterable):
        raise arguments.refused(argument, names, "the name of a column, or a list of names")
    listed = tuple(names)  # an iterator gives them once
    for one in listed:
        _check_column(argument, one)
    return listed


def _check_column(argument: str, column: object) -> None:
    if not isinstance(column, Hashable):
        raise arguments.refused(argument, column, "the name of a column")


@dataclass(frozen=True, slots=True)
class Question:
    """The arguments of `compare`, which documents them.

    Raises:
        InvalidInput: It has no answer, whatever the data.
    """

    metric: str
    by: tuple[str, ...]
    pair_on: tuple[str, ...]
    baseline: Any
    test: Test | None
    confidence: float
    nan_policy: NanPolicy
    target: Any
    score: Score | None
    seed: int

    def __post_init__(self) -> None:
        for name, given, known in (
            ("test", self.test, (None, *get_args(Test))),
            ("nan_policy", self.nan_policy, get_args(NanPolicy)),
        ):
            if given not in known:
                raise InvalidInput(
                    f"{name} is {given!r}; give one of {', '.join(map(repr, known))}"
                )
        _check_column("metric", self.metric)
        if not isinstance(self.confidence, Real) or not 0 < self.confidence < 1:
            raise arguments.refused("confidence", self.confidence, "a number such as 0.95")
        if not isinstance(self.seed, Integral) or isinstance(self.seed, bool) or self.seed < 0:
            raise arguments.refused("seed", self.seed, "0 or a positive integer")
        if self.of_predictions != (self.target is not None):
            what = "needs" if self.of_predictions else "compares numbers, without"
            raise InvalidInput(
                f"test={self.chosen_test!r} {what} target=, what is true of the samples that the "
                "metric predicts"
            )
        if self.score is not None and self.chosen_test != "bootstrap":
            raise InvalidInput("score= is for predictions: give target=, and test='bootstrap'")
        columns = [self.metric, *self.by, *self.pair_on]
        twice = next((name for name in columns if columns.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"{twice!r} is given twice, as metric, in by= or in pair_on=")

    @property
    def chosen_test(self) -> Test:
        """The test; one that fits the metric if the user has named none."""
        if self.test is not None:
            return self.test
        if self.target is None:
            return "t"
        return "mcnemar" if self.score is None else "bootstrap"

    @property
    def of_predictions(self) -> bool:
        """Whether the metric is what runs predict, and no number."""
        return self.chosen_test in OF_PREDICTIONS

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data that it is about."""
        target = (self.target,) if isinstance(self.target, str) else ()
        return (self.metric, *self.by, *self.pair_on, *target)
