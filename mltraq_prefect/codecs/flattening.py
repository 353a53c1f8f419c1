"""Flattening lists, so that all items of one type are handled at once, and restoring them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from itertools import chain, islice
from typing import Any


def flatten(groups: Iterable[Iterable[Any]]) -> list[Any]:
    """Return the items of all groups in one list."""
    return [*chain.from_iterable(groups)]


def regroup(items: Iterable[Any], groups: Iterable[Sized]) -> list[list[Any]]:
    """Return the items in lists that are as long as the groups."""
    rest = iter(items)
    return [[*islice(rest, len(group))] for group in groups]


def of_kind(kind: type, items: Sequence[Any]) -> list[Any]:
    """Return the items of an exact type."""
    return [item for item in items if type(item) is kind]


def replace(
    kind: type, items: Sequence[Any], others: Iterable[Any], replaced: Sequence[Any]
) -> list[Any]:
    """Return `replaced` with the others where `items` has those of an exact type."""
    rest = iter(others)
    pairs = zip(items, replaced, strict=True)
    return [next(rest) if type(item) is kind else old for item, old in pairs]
