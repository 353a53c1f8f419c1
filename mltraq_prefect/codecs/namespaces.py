"""Namespaces of runs are stored as the dicts that they are."""

from __future__ import annotations

import operator
from typing import Any

from mltraq_prefect.codecs.registry import MAX_DEPTH
from mltraq_prefect.model.namespace import Namespace

_WALKED = frozenset((dict, list, tuple, Namespace))


def unwrapped(value: Any) -> Any:
    """Return a tree of dicts, lists and tuples with plain dicts in the place of namespaces.

    The value itself, if there are none.
    """
    return _unwrapped(value, {}, 0)


def _unwrapped(value: Any, known: dict[int, Any], depth: int) -> Any:
    kind = type(value)
    if kind not in _WALKED or depth > MAX_DEPTH:
        return value
    if id(value) not in known:
        known[id(value)] = value  # what contains itself is refused later
        known[id(value)] = _copied(value, known, depth + 1)
    return known[id(value)]


def _copied(value: Any, known: dict[int, Any], depth: int) -> Any:
    kind = type(value)
    items = value if kind in (list, tuple) else [*dict.values(value)]
    found = items
    if not _WALKED.isdisjoint(map(type, items)):
        copies = [_unwrapped(item, known, depth) for item in items]
        found = items if all(map(operator.is_, copies, items)) else copies
    if found is items and kind is not Namespace:
        return value
    return kind(found) if kind in (list, tuple) else dict(zip(dict.keys(value), found, strict=True))
