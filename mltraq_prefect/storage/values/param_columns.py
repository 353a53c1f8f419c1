"""What SQL sees of the params of an experiment: the kind of each, its `param_columns`.

A param has no column in a table: views take it from JSON. So its kind follows from values alone,
and a value of another kind is NULL in its column.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.values.columns import aligned
from mltraq_prefect.storage.values.guesses import guessed
from mltraq_prefect.storage.values.kinds import (
    BOOL,
    DATE,
    DATETIME,
    FLOAT,
    INT,
    JSON,
    TEXT,
    Backend,
    Kind,
)
from mltraq_prefect.storage.values.natives import NATIVES

ParamColumns = dict[str, Kind | None]
"""The kind of each param in the order of the params; None until a value comes."""

OF_PARAMS = {kind.name: kind for kind in (BOOL, INT, FLOAT, TEXT, DATE, DATETIME, JSON)}
"""What JSON tells apart, and moments if there are only such; any other value is text."""

_MOMENTS = (DATE, DATETIME)


def dump(columns: ParamColumns) -> str:
    """Return the JSON text of `param_columns`."""
    names = {key: kind and kind.name for key, kind in columns.items()}
    return json.dumps(names, ensure_ascii=False)


def parse(text: str, experiment: str) -> ParamColumns:
    """Return the kinds that `dump` wrote.

    Raises:
        CorruptData: The text is something else.
    """
    try:
        names = json.loads(text)
        for key in names:
            check_name(key, "param name")
        return {key: None if name is None else OF_PARAMS[name] for key, name in names.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise CorruptData("param_columns holds no kinds", experiment=experiment) from None


def extended(
    known: ParamColumns, params: Sequence[dict[str, Any]], backend: Backend
) -> ParamColumns:
    """Return kinds that also suit the params of more runs.

    Args:
        known: The kinds so far.
        params: The params of those runs.
        backend: Where they will be.

    Raises:
        InvalidName: A param has a name that cannot be stored.
    """
    columns = dict(known)
    for key, values in _columns(params):
        if key not in known:
            check_name(key, "param name")
        columns[key] = _joined(columns.get(key), _kinds(values, backend))
    return columns


def _columns(params: Sequence[dict[str, Any]]) -> Iterable[tuple[str, list[Any]]]:
    if (columns := aligned(params)) is not None:
        return columns.items()
    values: dict[str, list[Any]] = {}
    for own in params:
        for key, value in own.items():
            values.setdefault(key, []).append(value)
    return values.items()


def _kinds(values: Sequence[Any], backend: Backend) -> Counter[Kind]:
    """Count the kinds of values, without those that are missing."""
    types = Counter(map(type, values))
    kinds: Counter[Kind | None] = Counter()
    if types.keys() <= NATIVES.keys() and _fit(values, types):
        for type_, count in types.items():
            kinds[NATIVES[type_].kind] += count
    else:
        kinds.update(guessed(value, backend).kind for value in values)
    found: Counter[Kind] = Counter()
    for kind, count in kinds.items():
        if kind is not None:
            found[kind if kind in OF_PARAMS.values() else TEXT] += count
    return found


def _fit(values: Sequence[Any], types: Iterable[type]) -> bool:
    """Return whether all integers among values are within 64 bits."""
    integers = {type_ for type_ in types if NATIVES[type_].kind is INT}
    found = [value for value in values if type(value) in integers] if integers else []
    return not found or INT.takes(found)


def _joined(known: Kind | None, found: Counter[Kind]) -> Kind | None:
    """Return the kind of a column that is of one kind so far, when values of some kinds come."""
    if not found:
        return known
    if known is None:
        return _chosen(found)
    if known.is_numeric:
        return _widest([known, *found])
    return TEXT if known in _MOMENTS and set(found) != {known} else known


def _chosen(found: Counter[Kind]) -> Kind:
    """Return the kind of most values; numbers meet in the widest, and moments alone are no text."""
    if len(found) == 1:
        return next(iter(found))
    widest = _widest(found)
    counts: Counter[Kind] = Counter()
    for kind, count in found.items():
        counts[widest if kind.is_numeric else TEXT if kind in _MOMENTS else kind] += count
    return counts.most_common(1)[0][0]


def _widest(kinds: Iterable[Kind]) -> Kind:
    numbers = [kind for kind in kinds if kind.is_numeric]
    return max(numbers, key=attrgetter("rank"), default=FLOAT)
