"""Marks: what stands for stored values, so that two states of an experiment can be compared.

Equal marks, equal values. A value that its cell gives back has a natural mark: the cell, or the
digest of a long one. Any other has an exact mark: the digest of its envelope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xxhash import xxh3_128_digest

Mark = Any
"""Stands for a stored value; None if the run has no such field."""

_EXACT = "exact"


def exact_mark(data: bytes) -> Mark:
    """Return the mark of a value from its envelope."""
    return (_EXACT, xxh3_128_digest(data))


def is_exact(mark: Mark) -> bool:
    """Return whether a mark is that of an envelope."""
    return type(mark) is tuple and mark[0] == _EXACT


def with_exact(marks: Sequence[Mark], exact: Mapping[int, bytes]) -> Sequence[Mark]:
    """Return marks in which those of exact values, given by index, replace those of their cells.

    Args:
        marks: Natural marks.
        exact: Envelopes.
    """
    if not exact:
        return marks
    replaced = list(marks)
    for index, data in exact.items():
        replaced[index] = exact_mark(data)
    return replaced
