"""Values that JSON text keeps exactly: trees of dict, list, str, int, float, bool and None."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from mltraq_prefect.codecs.namespaces import unwrapped
from mltraq_prefect.codecs.registry import MAX_DEPTH, NESTED, FormatError
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.identity import as_python

_JSON_TYPES = frozenset((dict, list, str, int, float, bool, type(None)))
_LEAVES = _JSON_TYPES - NESTED
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1


def to_json(value: Any, *, nul: bool = True) -> str | None:
    """Return JSON text that restores the value exactly, or None if there is none.

    Args:
        value: Any value.
        nul: Whether text may hold NUL, which some databases refuse.
    """
    if type(value) not in NESTED or not is_plain(value):
        plain = unwrapped(value)
        if plain is value or type(plain) not in NESTED or not is_plain(plain):
            return None
        value = plain
    try:
        text = orjson.dumps(value)
    except TypeError:  # a lone surrogate
        return None
    return text.decode() if nul or _free_of_nul(text) else None


def each_to_json(items: Sequence[dict[str, Any]], *, nul: bool = True) -> list[str] | None:
    """Return JSON text of each of some dicts as `to_json` does, or None if one has none."""
    keys = set(map(type, chain.from_iterable(items)))
    values = [*chain.from_iterable(map(dict.values, items))]
    if not keys <= {str} or not is_plain(values):
        return None
    try:
        whole = orjson.dumps(items)
    except TypeError:  # a lone surrogate
        return None
    if not nul and not _free_of_nul(whole):
        return None
    text = whole.decode()
    if text.count("},{") == len(items) - 1:  # unless the items hold that themselves
        return text[1:-1].replace("},{", "}\n{").split("\n")
    return [orjson.dumps(item).decode() for item in items]


def is_plain(value: Any) -> bool:
    """Return whether a dict or list is a tree of exact JSON types, at most 100 levels deep."""
    containers = [value]
    for _ in range(MAX_DEPTH):
        if not _has_text_keys(containers):
            return False
        level = _below(containers)
        kinds = set(map(type, level))
        if not kinds <= _JSON_TYPES or not _exact_numbers(level, kinds):
            return False
        if kinds.isdisjoint(NESTED):
            return True
        # Each once: what contains itself twice doubles with each level.
        containers = [*{id(x): x for x in level if type(x) in NESTED}.values()]
    return False


def _has_text_keys(containers: list[Any]) -> bool:
    keys = chain.from_iterable(x for x in containers if type(x) is dict)
    return {str}.issuperset(map(type, keys))


def _below(containers: list[Any]) -> list[Any]:
    """Return what lists and dicts hold."""
    lists = [x for x in containers if type(x) is list]
    dicts = [x for x in containers if type(x) is dict]
    return [*chain.from_iterable(lists), *chain.from_iterable(map(dict.values, dicts))]


def _exact_numbers(level: list[Any], kinds: set[type]) -> bool:
    if int in kinds:
        ints = _of(int, level, kinds)
        if min(ints) < _MIN_INT or max(ints) > _MAX_INT:
            return False
    return float not in kinds or finite(_of(float, level, kinds))


def _of(kind: type, level: list[Any], kinds: set[type]) -> list[Any]:
    return level if len(kinds) == 1 else [value for value in level if type(value) is kind]


def finite(floats: list[float]) -> bool:
    """Return whether all floats are finite; a sum is only finite if they are, and faster."""
    return math.isfinite(sum(floats)) or all(map(math.isfinite, floats))


def _free_of_nul(text: bytes) -> bool:
    if b"\\u0000" not in text:
        return True
    return b"\\u0000" not in text.replace(b"\\\\", b"")


def from_json(text: str | bytes | memoryview) -> Any:
    """Return the value of JSON text that `to_json` made.

    A database may have changed its blanks, the form of its numbers and its escapes.

    Raises:
        CorruptData: It is not the text of such a value.
    """
    try:
        raw = text.encode() if isinstance(text, str) else bytes(text)
        value = _parse(raw)
    except (FormatError, ValueError, RecursionError) as error:
        raise CorruptData(f"JSON: {error}") from error
    return value


def _parse(text: bytes) -> Any:
    value = orjson.loads(text)
    if orjson.dumps(value) == text:
        check_depth(value, text)
        return value
    value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    if type(value) not in NESTED or not is_plain(value):
        raise FormatError(
            f"no dict or list, numbers beyond 64 bits, or more than {MAX_DEPTH} levels"
        )
    return value


def check_depth(value: Any, text: bytes) -> None:
    """Raise `FormatError` unless the value of some JSON is a dict or list of at most 100 levels."""
    if type(value) not in NESTED:
        raise FormatError(f"it holds {type(value).__name__}, not a dict or list")
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return
    containers = [value]
    for _ in range(MAX_DEPTH):
        level = _below(containers)
        if NESTED.isdisjoint(map(type, level)):
            return
        containers = [x for x in level if type(x) in NESTED]
    raise FormatError(f"more than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("a key occurs twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise FormatError(f"{name} is not JSON")


def project_json(value: Any) -> str | None:
    """Return the closest natural JSON text of a dict or list that `to_json` refuses, or None.

    Tuples count as lists, NaN and infinities as null, NumPy scalars as what they hold, integers
    beyond 64 bits as floats, and keys that are no text as their text.
    """
    value = unwrapped(value)
    if type(value) not in (dict, list, tuple):
        return None
    try:
        return orjson.dumps(_project(value, 0)).decode()
    except (TypeError, _NoProjectionError):
        return None


class _NoProjectionError(Exception):
    pass


def _project(value: Any, depth: int) -> Any:
    kind = type(value)
    if depth > MAX_DEPTH:
        raise _NoProjectionError
    if kind is dict:
        return _project_dict(value, depth)
    if kind is list or kind is tuple:
        return [_project(item, depth + 1) for item in value]
    return _project_scalar(value)


def _project_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    found = {_project_key(key): _project(item, depth + 1) for key, item in value.items()}
    if len(found) != len(value):
        raise _NoProjectionError
    return found


def _project_key(key: Any) -> str:
    text = _project_scalar(key)
    return text if type(text) is str else orjson.dumps(text).decode()


def _project_scalar(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = as_python(value)
    kind = type(value)
    if kind not in _LEAVES:
        raise _NoProjectionError
    if kind is float and not math.isfinite(value):
        return None
    if kind is int and not _MIN_INT <= value <= _MAX_INT:
        return _project_scalar(_to_float(value))
    return value


def _to_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
