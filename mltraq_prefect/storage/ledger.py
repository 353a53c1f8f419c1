"""Rows of the ledger: what is known of a run beside its fields."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Any

from mltraq_prefect.codecs import decode, encode, from_json, project_json, to_json
from mltraq_prefect.errors import CorruptData, UnsupportedType
from mltraq_prefect.run import LedgerEntry, Run, describe, reference
from mltraq_prefect.storage.dialects import Dialect
from mltraq_prefect.storage.layout import Kind
from mltraq_prefect.storage.names import check_name
from mltraq_prefect.storage.projection import clean
from mltraq_prefect.storage.records import LedgerMark

Exact = dict[str, bytes]
"""Envelopes of exact values by key."""

KEYS: dict[str, Kind] = {"id_experiment": "key", "id_run": "key"}
STATE: dict[str, Kind] = {
    "params": "json",
    "state": "key",
    "steps": "text",
    "error": "text",
    "attempts": "int",
    "started_at": "datetime",
    "duration_s": "float",
    "flow_run_id": "text",
    "task_run_id": "text",
    "residual": "binary",
}
LEDGER: dict[str, Kind] = {**KEYS, "position": "int", **STATE}


class Params:
    """The params of runs as JSON, which keeps their names readable in SQL.

    Values that JSON does not keep are encoded beside it. Functions, classes and whatever else has
    no codec are only kept as text: their import path, or how they look.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def dump(self, params: Mapping[str, Any]) -> tuple[str, Exact]:
        """Return JSON of the params, and the envelopes of those that it does not keep.

        Raises:
            InvalidName: A param is not called by a string that can be stored.
        """
        params = dict(params)
        text = to_json(params, nul=self._dialect.nul)
        if text is not None:
            return text, {}
        parts, exact = [], {}
        for key, value in params.items():
            check_name(key, "param name")
            part, data = self._part(key, value)
            parts.append(f"{json.dumps(key, ensure_ascii=False)}:{part}")
            if data is not None:
                exact[key] = data
        return "{" + ",".join(parts) + "}", exact

    def _part(self, key: str, value: Any) -> tuple[str, bytes | None]:
        text = to_json([value], nul=self._dialect.nul)
        if text is not None:
            return text[1:-1], None
        try:
            data = encode(value, path=f"params.{key}")
        except UnsupportedType:
            return json.dumps(self._clean(_as_text(value)), ensure_ascii=False), None
        projected = project_json([value])
        if projected is None or (not self._dialect.nul and "\\u0000" in projected):
            return json.dumps(self._clean(_shown(value)), ensure_ascii=False), data
        return projected[1:-1], data

    def _clean(self, text: str) -> str:
        return clean(text, self._dialect)


def _as_text(value: Any) -> str:
    try:
        found = reference(value)
    except TypeError:
        found = None
    return found if isinstance(found, str) else describe({"": value})[1:]


def _shown(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # some NumPy values cannot be shown
        return f"<{type(value).__name__}>"


class StepTexts:
    """The completed steps of runs as JSON; most runs share theirs, so they are made once."""

    def __init__(self) -> None:
        self._texts: dict[tuple[tuple[str, str], ...], str] = {}

    def dump(self, steps: Mapping[str, str]) -> str:
        """Return JSON of the steps."""
        key = tuple(steps.items())
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = json.dumps(dict(key), ensure_ascii=False)
        return text


def ledger_mark(entry: LedgerEntry, params: str, steps: str, dialect: Dialect) -> LedgerMark:
    """Return what decides whether the row of a run has changed."""
    error = None if entry.error is None else clean(entry.error, dialect)
    return LedgerMark(params, entry.state, steps, error)


def ledger_row(entry: LedgerEntry, mark: LedgerMark, residual: bytes | None) -> list[Any]:
    """Return the natural cells of a row, in the order of `STATE`."""
    return [
        mark.params,
        mark.state,
        mark.steps,
        mark.error,
        entry.attempts,
        _naive(entry.started_at),
        entry.duration_s,
        entry.flow_run_id,
        entry.task_run_id,
        residual,
    ]


def _naive(moment: datetime.datetime | None) -> datetime.datetime | None:
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone(datetime.UTC).replace(tzinfo=None)


def dump_residual(fields: Exact, params: Exact) -> bytes | None:
    """Return one envelope of all exact values of a run, or None if there are none."""
    if not fields and not params:
        return None
    return encode({"fields": fields, "params": params}, path="residual")


def parse_residual(data: bytes | None) -> tuple[Exact, Exact]:
    """Return the exact values of fields and params, still encoded.

    Raises:
        CorruptData: The bytes are something else.
    """
    if data is None:
        return {}, {}
    found = decode(data)
    try:
        fields, params = found["fields"], found["params"]
        if not all(type(item) is bytes for item in (*fields.values(), *params.values())):
            raise TypeError
    except (TypeError, KeyError, AttributeError):
        raise CorruptData("the residual is no residual") from None
    return fields, params


def revive_run(
    row: tuple[Any, ...], fields: dict[str, Any], params_exact: Exact, steps: dict[str, str]
) -> Run:
    """Make a run of its ledger row and its fields.

    Args:
        row: Natural cells, in the order of `LEDGER` without `id_experiment`.
        fields: Its fields.
        params_exact: Envelopes of params that JSON does not keep.
        steps: Its completed steps.
    """
    id_run, position, params_text, state, _steps, error, attempts, started, *rest = row
    params = from_json(params_text)
    for key, data in params_exact.items():
        params[key] = decode(data)
    started_at = None if started is None else started.replace(tzinfo=datetime.UTC)
    duration_s, flow_run_id, task_run_id, _residual = rest
    entry = LedgerEntry(
        state, steps, error, attempts, started_at, duration_s, flow_run_id, task_run_id, position
    )
    return Run(id_run, params=params, fields=fields, ledger=entry)


def parse_steps(texts: Iterator[str]) -> dict[str, dict[str, str]]:
    """Return the steps of each distinct JSON text.

    Raises:
        CorruptData: A text is something else.
    """
    found = {text: from_json(text) for text in set(texts)}
    for text, steps in found.items():
        if type(steps) is not dict or not all(type(value) is str for value in steps.values()):
            raise CorruptData(f"the steps {text[:80]!r} of the ledger are no steps")
    return found
