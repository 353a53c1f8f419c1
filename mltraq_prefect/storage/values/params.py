"""Params of runs, and fields of experiments, as JSON that SQL can read."""

from __future__ import annotations

import enum
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mltraq_prefect.codecs import decode, each_to_json, encode, from_json, project_json, to_json
from mltraq_prefect.errors import CorruptData, UnsupportedType
from mltraq_prefect.model.identity import canonical, reference
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.guesses import guessed
from mltraq_prefect.storage.values.kinds import BINARY, BYTES, JSON
from mltraq_prefect.storage.values.kinds.texts import clean
from mltraq_prefect.storage.values.residuals import Exact

MOST_BYTES = 65_536
"""A value whose envelope is longer is shown by its type and size, not copied into JSON."""


def dump_params(
    params: Sequence[dict[str, Any]], dialect: Dialect
) -> tuple[list[str], dict[int, Exact]]:
    """Return JSON of the params of runs, and by index the envelopes of what it does not keep.

    Raises:
        InvalidName: A param is not called by a string that can be stored.
        UnsupportedType: A param has no codec, and nothing names it.
    """
    texts = each_to_json(params, nul=dialect.nul)
    if texts is not None:
        return texts, {}
    dumped = [_dump(item, dialect) for item in params]
    exact = {index: kept for index, (_, kept) in enumerate(dumped) if kept}
    return [text for text, _ in dumped], exact


def _dump(params: Mapping[str, Any], dialect: Dialect) -> tuple[str, Exact]:
    params = dict(params)
    text = to_json(params, nul=dialect.nul)
    if text is not None:
        return text, {}
    parts: dict[str, str] = {}
    exact: Exact = {}
    for key, value in dict(params).items():
        check_name(key, "param name")
        json_text = to_json([value], nul=dialect.nul)
        if json_text is not None:
            parts[key] = json_text[1:-1]
            continue
        try:
            exact[key] = encode(value, path=param_path(key))
            parts[key] = _shown(value, len(exact[key]), dialect)
        except UnsupportedType as error:
            parts[key] = _text(_name_of(value, error), dialect)
    return _object(parts), exact


def fields_as_json(fields: Exact, dialect: Dialect) -> str:
    """Return JSON that shows the fields of an experiment, given by their envelopes."""
    parts = {}
    for key, data in fields.items():
        value = decode(data) if len(data) <= MOST_BYTES else None
        text = to_json([value], nul=dialect.nul) if len(data) <= MOST_BYTES else None
        parts[key] = _shown(value, len(data), dialect) if text is None else text[1:-1]
    return _object(parts)


def param_path(key: str) -> str:
    """Return what error messages call a param."""
    return f"params.{key}" if key.isidentifier() else f"params[{key!r}]"


def _object(parts: Mapping[str, str]) -> str:
    pairs = (f"{json.dumps(key, ensure_ascii=False)}:{part}" for key, part in parts.items())
    return "{" + ",".join(pairs) + "}"


def _shown(value: Any, size: int, dialect: Dialect) -> str:
    """Return JSON of what SQL sees of a value, given the size of its envelope in bytes."""
    if size > MOST_BYTES:
        return _text(f"<{size:,} bytes>", dialect)
    guess = guessed(value, dialect)
    if guess.kind is None or guess.kind is JSON:
        return guess.cell or "null"
    shown = _str(value) if guess.kind in (BINARY, BYTES) else guess.cell
    if isinstance(shown, str):
        return _text(shown, dialect)
    projected = project_json([shown])
    return _text(_str(shown), dialect) if projected is None else projected[1:-1]


def _text(text: str, dialect: Dialect) -> str:
    return json.dumps(clean(text, dialect), ensure_ascii=False)


def _str(value: Any) -> str:
    try:
        return str(value)
    except (ValueError, OverflowError):  # some NumPy values cannot be shown
        return f"<{type(value).__name__}>"


def _name_of(value: Any, error: UnsupportedType) -> str:
    """Return text that tells a value without a codec from any other, and names it for a person.

    Functions, classes and members of enumerations are named by their import path, a partial by
    what it calls, another object by its class and what it holds.
    """
    try:
        return _named(value)
    except TypeError:
        raise error from None


def _named(value: Any) -> str:
    if isinstance(value, functools.partial):
        args = [*map(_named, value.args)]
        args += [f"{key}={_named(item)}" for key, item in value.keywords.items()]
        return f"{_named(value.func)}({', '.join(args)})"
    if isinstance(value, enum.Enum) and value.name is not None:
        return f"{reference(type(value))}.{value.name}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    try:
        return reference(value)
    except TypeError:
        name = getattr(value, "__qualname__", None)
        return canonical(value) if name is None else f"{name} {canonical(value)}"


def parse_params(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the params of many runs, parsed as one.

    Raises:
        CorruptData: A text is something else.
    """
    params = from_json(f"[{','.join(texts)}]")
    if len(params) != len(texts) or set(map(type, params)) - {dict}:
        raise CorruptData("the params of the ledger are not params")
    return list(params)
