"""Rows that are spread evenly over many, found by an index without a look at the others.

In a grid values come in turn, so that equal distances would meet some of them alone. So one row is
taken of each of many stretches of equal width, at a place in it that follows from the multiples of
the golden section: what these leave is spread evenly (Knuth, volume 3, 6.4).
"""

from __future__ import annotations

from dataclasses import dataclass

GOLDEN, BITS = 2_654_435_769, 32
"""The golden section of all numbers of so many bits."""

MOST_GAPS = 4
"""Where most numbers are not taken, so many times as many are looked up at most."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Numbers that are spread evenly over a range.

    Attributes:
        first: The smallest that there may be.
        width: Of the stretches, each of which has one.
        stretches: How many of them there are.
    """

    first: int
    width: int
    stretches: int

    @classmethod
    def over(cls, first: int, last: int, taken: int, most: int) -> Spread:
        """Return about so many numbers as are wanted.

        Args:
            first: The smallest number of the range.
            last: The largest one.
            taken: How many numbers of the range there are.
            most: How many of these are wanted, at most.
        """
        size = max(last - first + 1, 1)
        width = max(-(-taken // most), -(-size // (MOST_GAPS * most)), 1)
        return cls(first, width, -(-size // width))

    def table(self, alias: str) -> str:
        """Return what the indexes of the stretches are selected from, and a few more."""
        digits, left = [], self.stretches
        while left > 10:
            digits.append(10)
            left = -(-left // 10)
        digits.append(left)
        parts = [f"{_digit(size)} AS d{place}" for place, size in enumerate(digits)]
        index = " + ".join(f"{10**place} * d{place}.n" for place in range(len(digits)))
        return f"(SELECT {index} AS k FROM {' CROSS JOIN '.join(parts)}) AS {alias}"

    def number(self, alias: str) -> str:
        """Return the expression for the number in a stretch of `table`."""
        if self.width == 1:
            return f"({self.first:d} + {alias}.k)"
        share = f"((({alias}.k * {GOLDEN}) & {2**BITS - 1}) * {self.width:d})"
        return f"({self.first:d} + {alias}.k * {self.width:d} + ({share} >> {BITS}))"


def _digit(size: int) -> str:
    others = "".join(f" UNION ALL SELECT {number}" for number in range(1, size))
    return f"(SELECT 0 AS n{others})"
