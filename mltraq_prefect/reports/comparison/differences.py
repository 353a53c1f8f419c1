"""The difference between two samples, by Student's and Welch's t tests; needs SciPy.

Student, "The probable error of a mean", Biometrika 6 (1908); Welch, "The generalization of
'Student's' problem", Biometrika 34 (1947).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mltraq_prefect.reports.numbers import Floats

SMALLEST = 1e-150
"""Differences smaller than this have no square in a float."""


class NoVariation(ValueError):
    """All values are the same: nothing tells how far they would differ by chance."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a sample lies above another one.

    Attributes:
        effect: Estimated difference.
        standard_error: Standard error of that.
        low: Lower end of its confidence interval.
        high: Upper end.
        p: Two-sided p-value of no difference.
    """

    effect: float
    standard_error: float
    low: float
    high: float
    p: float


class Sample(NamedTuple):
    """A sample by its moments.

    Attributes:
        size: Number of values.
        mean: Their mean.
        variance: Their variance.
    """

    size: int
    mean: float
    variance: float


def paired_t(values: Floats, others: Floats, confidence: float) -> Difference:
    """Return the mean of paired differences.

    Args:
        values: A sample, shape (n,).
        others: The other sample in the same order, shape (n,).
        confidence: Of the interval, between 0 and 1.

    Raises:
        NoVariation: All differences are the same.
    """
    differences = values - others
    # The differences of large numbers vary by rounding, even if they are the same.
    scale = max(float(np.abs(values).max()), float(np.abs(others).max()))
    if constant(differences, scale):
        raise NoVariation
    error = float(differences.std(ddof=1)) / math.sqrt(differences.size)
    return _by_t(float(differences.mean()), error, differences.size - 1, confidence)


def welch_t(values: Floats, others: Floats, confidence: float) -> Difference:
    """Return the difference of the means of independent samples, which may vary differently.

    Args:
        values: A sample, shape (n,).
        others: The other sample, shape (m,).
        confidence: Of the interval, between 0 and 1.

    Raises:
        NoVariation: All values are the same within each sample.
    """
    if all(constant(part, float(np.abs(part).max())) for part in (values, others)):
        raise NoVariation
    return welch(_sample(values), _sample(others), confidence)


def welch(sample: Sample, other: Sample, confidence: float) -> Difference:
    """Return the same for samples of which only the moments are known.

    Args:
        sample: A sample of two values or more.
        other: The other one.
        confidence: Of the interval, between 0 and 1.
    """
    own, others = (part.variance / part.size for part in (sample, other))
    share = own / (own + others)  # squares of small variances would be 0
    freedom = 1 / (share**2 / (sample.size - 1) + (1 - share) ** 2 / (other.size - 1))
    return _by_t(sample.mean - other.mean, math.sqrt(own + others), freedom, confidence)


def _sample(values: Floats) -> Sample:
    return Sample(values.size, float(values.mean()), float(values.var(ddof=1)))


def constant(values: Floats, scale: float) -> bool:
    """Return whether values differ by no more than what rounding makes of numbers of a scale."""
    return float(np.ptp(values)) <= max(8 * float(np.finfo(np.float64).eps) * scale, SMALLEST)


def _by_t(effect: float, error: float, freedom: float, confidence: float) -> Difference:
    from scipy import stats

    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(effect) / error, freedom))
    return Difference(effect, error, effect - reach, effect + reach, p)
