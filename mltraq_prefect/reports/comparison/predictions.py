"""The difference between predictions of the same samples, by McNemar's test or the bootstrap.

McNemar, "Note on the sampling error of the difference between correlated proportions",
Psychometrika 12 (1947); Bonett and Price, "Adjusted Wald confidence interval for a difference of
binomial proportions based on paired data", Journal of Educational and Behavioral Statistics 37
(2012); Efron and Tibshirani, "An introduction to the bootstrap" (1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.comparison.differences import Difference

RESAMPLES = 2_000

Score = Callable[[Any, Any], float]
"""Returns a number from the targets and the predictions of some samples."""


class Predicted(NamedTuple):
    """What runs of two groups predict of the same samples: first axis (samples,).

    Attributes:
        targets: What is true.
        own: What the runs of a group say.
        other: What those of the other group say.
        sizes: Number of samples of each pair of runs, in order.
    """

    targets: NDArray[Any]
    own: NDArray[Any]
    other: NDArray[Any]
    sizes: tuple[int, ...]


def joined(pairs: Sequence[Predicted]) -> Predicted:
    """Return several pairs of runs as one, with the samples of all of them."""
    targets, own, other, _ = zip(*pairs, strict=True)
    sizes = tuple(len(part) for part in targets)
    return Predicted(np.concatenate(targets), np.concatenate(own), np.concatenate(other), sizes)


def accuracy(targets: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Return the share of samples that are predicted right."""
    return float(np.mean(targets == predictions))


def mcnemar(said: Predicted, confidence: float) -> Difference:
    """Return the difference of accuracy, with an exact p-value and Bonett and Price's interval.

    Args:
        said: Predictions of different samples.
        confidence: Of the interval, between 0 and 1.
    """
    from scipy import stats

    right, other = said.own == said.targets, said.other == said.targets
    n, gained, lost = right.size, int((right & ~other).sum()), int((~right & other).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    effect = (gained - lost) / n
    error = math.sqrt(((gained + lost) / n - effect**2) / n)
    more, less = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = float(stats.norm.ppf((1 + confidence) / 2))
    reach *= math.sqrt((more + less - (more - less) ** 2) / (n + 2))
    return Difference(effect, error, more - less - reach, more - less + reach, p)


def bootstrap(
    said: Predicted, score: Score, confidence: float, seed: int, resamples: int = RESAMPLES
) -> Difference:
    """Return the difference of a score, from samples that are drawn again, the same in both groups.

    The score is that of all samples together. Those of each pair of runs are drawn among
    themselves, and the interval is that of percentiles.

    Args:
        said: Predictions of different samples.
        score: Of targets and predictions.
        confidence: Of the interval, between 0 and 1.
        seed: Of the generator that draws.
        resamples: How often all samples are drawn.

    Raises:
        InvalidInput: The score of some samples is no finite number: these would count as neither
            better nor worse.
    """
    generator = np.random.default_rng(seed)
    starts = np.cumsum([0, *said.sizes[:-1]])
    effects = np.empty(resamples)
    for place in range(resamples):
        parts = [generator.integers(0, size, size) for size in said.sizes]
        drawn = np.concatenate([s + part for s, part in zip(starts, parts, strict=True)])
        targets = said.targets[drawn]
        effects[place] = score(targets, said.own[drawn]) - score(targets, said.other[drawn])
    effect = float(score(said.targets, said.own)) - float(score(said.targets, said.other))
    undefined = resamples - int(np.isfinite(effects).sum())
    if undefined or not math.isfinite(effect):
        raise InvalidInput(
            f"the score is no finite number in {undefined:,} of {resamples:,} drawings of samples, "
            "such as a recall without positives: let it return a number, such as 0, for these"
        )
    low, high = np.quantile(effects, [(1 - confidence) / 2, (1 + confidence) / 2])
    fewer = min(int((effects <= 0).sum()), int((effects >= 0).sum()))
    p = min(1.0, 2 * (fewer + 1) / (resamples + 1))
    return Difference(effect, float(effects.std(ddof=1)), float(low), float(high), p)
