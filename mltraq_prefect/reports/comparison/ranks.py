"""The difference between two samples, by Wilcoxon's tests of ranks; needs SciPy.

Estimates and intervals are those of Hodges and Lehmann, as in R's ``wilcox.test``: order statistics
of all averages of two differences, or of all differences between a value and another one. None of
these many numbers is in memory: what is counted is how many of them are below a bound.

Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945); Hodges and
Lehmann, "Estimates of location based on rank tests", Annals of Mathematical Statistics 34 (1963).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mltraq_prefect.reports.comparison.differences import Difference, NoVariation
from mltraq_prefect.reports.numbers import Floats

EXACT_BELOW = 50
"""Ranks of fewer values, without ties, have exact p-values and intervals."""

Count = Callable[[float], int]
"""Returns how many of some numbers are not above a bound."""


def signed_rank(values: Floats, others: Floats, confidence: float) -> Difference:
    """Return the pseudomedian of paired differences, by signed ranks.

    Pairs without a difference are left out, as Wilcoxon did.

    Args:
        values: A sample, shape (n,).
        others: The other sample in the same order, shape (n,).
        confidence: Of the interval, between 0 and 1.

    Raises:
        NoVariation: No pair differs.
    """
    from scipy import stats

    differences = values - others
    kept = np.sort(differences[differences != 0])
    if not kept.size:
        raise NoVariation
    n, ties = kept.size, _ties(np.abs(kept))
    exact = n == differences.size and n < EXACT_BELOW and not ties
    method = "exact" if exact else "approx"
    found = stats.wilcoxon(kept, zero_method="wilcox", correction=not exact, method=method)
    averages, tail = n * (n + 1) // 2, (1 - confidence) / 2
    if exact:
        rank = _quantile(_signed_rank_ways(n), tail)
    else:
        variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
        rank = _normal_quantile(averages / 2, variance, tail)

    def count(bound: float) -> int:
        pairs = int(np.searchsorted(kept, 2 * bound - kept, side="right").sum())
        return (pairs + int(np.searchsorted(kept, bound, side="right"))) // 2

    numbers = _Numbers(count, averages, float(kept[0]), float(kept[-1]))
    return numbers.difference(rank, float(found.pvalue), tail)


def rank_sum(values: Floats, others: Floats, confidence: float) -> Difference:
    """Return the shift between independent samples, by rank sums (Mann and Whitney's U).

    Args:
        values: A sample, shape (n,).
        others: The other sample, shape (m,).
        confidence: Of the interval, between 0 and 1.

    Raises:
        NoVariation: All values of both samples are the same.
    """
    from scipy import stats

    together = np.concatenate([values, others])
    if not np.ptp(together):
        raise NoVariation
    n, m, ties = values.size, others.size, _ties(together)
    exact = max(n, m) < EXACT_BELOW and not ties
    found = stats.mannwhitneyu(values, others, method="exact" if exact else "asymptotic")
    tail = (1 - confidence) / 2
    if exact:
        rank = _quantile(_rank_sum_ways(n, m), tail)
    else:
        variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
        rank = _normal_quantile(n * m / 2, variance, tail)
    own, other = np.sort(values), np.sort(others)

    def count(bound: float) -> int:
        return int(np.searchsorted(own, other + bound, side="right").sum())

    numbers = _Numbers(count, n * m, float(own[0] - other[-1]), float(own[-1] - other[0]))
    return numbers.difference(rank, float(found.pvalue), tail)


class _Numbers:
    """Many numbers, of which is known how many are not above a bound."""

    def __init__(self, count: Count, size: int, least: float, most: float) -> None:
        self._count = count
        self._size = size
        self._least = least
        self._most = most

    def difference(self, rank: int, p: float, tail: float) -> Difference:
        """Return their median, and the interval from one rank to the same from above."""
        from scipy import stats

        middle = ((self._size + 1) // 2, self._size // 2 + 1)
        effect = sum(map(self._ranked, middle)) / 2
        if rank < 1:  # too few values for an interval of this confidence
            low, high = -math.inf, math.inf
        else:
            low, high = self._ranked(rank), self._ranked(self._size + 1 - rank)
        error = (high - low) / (2 * float(stats.norm.isf(tail)))
        return Difference(effect, error, low, high, p)

    def _ranked(self, rank: int) -> float:
        """Return the number of a rank from 1 on, by bisection down to neighbouring floats."""
        low, high = self._least, self._most
        if self._count(low) >= rank:
            return low
        while low < (middle := low + (high - low) / 2) < high:
            low, high = (low, middle) if self._count(middle) >= rank else (middle, high)
        return high


def _ties(values: Floats) -> float:
    """Return the sum of t³ - t over all groups of t equal values."""
    _, counts = np.unique(values, return_counts=True)
    sizes = counts.astype(np.float64)
    return float((sizes**3 - sizes).sum())


def _normal_quantile(mean: float, variance: float, tail: float) -> int:
    from scipy import stats

    return math.floor(mean - float(stats.norm.isf(tail)) * math.sqrt(variance) + 0.5)


def _quantile(ways: Floats, tail: float) -> int:
    """Return the least value of a statistic whose cumulative probability reaches a tail."""
    return int(np.searchsorted(np.cumsum(ways) / ways.sum(), tail))


def _signed_rank_ways(n: int) -> Floats:
    """Return in how many ways n signs make each sum of positive ranks."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] += ways[:-rank].copy()
    return ways


def _rank_sum_ways(n: int, m: int) -> Floats:
    """Return in how many orders of n and m values each U comes about."""
    ways = np.zeros((m + 1, n * m + 1))
    ways[:, 0] = 1.0
    for _ in range(n):
        for other in range(1, m + 1):
            # The largest value is either of the first sample, above all others, or it is not.
            above = np.roll(ways[other], other)
            above[:other] = 0.0
            ways[other] = above + ways[other - 1]
    counts: Floats = ways[m]
    return counts
