"""Rows of the ledger: what is known of a run beside its fields."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import orjson

from mltraq_prefect.codecs import (
    from_json,
)
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.cells import for_driver
from mltraq_prefect.storage.values.columns import Constant, column
from mltraq_prefect.storage.values.kinds import BINARY, DATETIME, FLOAT, INT, JSON, KEY, TEXT, Kind
from mltraq_prefect.storage.values.kinds.texts import clean
from mltraq_prefect.storage.values.kinds.times import without_zone

MAX_ERROR = 60_000
"""Characters of an error's text that are stored: in any encoding a fraction of a packet."""

KEYS: dict[str, Kind] = {"id_experiment": KEY, "id_run": KEY}
STATE: dict[str, Kind] = {
    "params": JSON,
    "state": KEY,
    "steps": TEXT,
    "step": TEXT,
    "error": TEXT,
    "error_type": TEXT,
    "attempts": INT,
    "started_at": DATETIME,
    "duration_s": FLOAT,
    "flow_run_id": TEXT,
    "task_run_id": TEXT,
    "residual": BINARY,
}
LEDGER: dict[str, Kind] = {**KEYS, "position": INT, **STATE}


def error_text(error: str, dialect: Dialect) -> str:
    """Return the text of an error as it is stored: the middle of a very long one is left out."""
    left = len(error) - MAX_ERROR
    if left > 0:
        half = MAX_ERROR // 2
        error = f"{error[:half]}\n[... {left:,} characters ...]\n{error[-half:]}"
    return clean(error, dialect)


def ledger_marks(
    entries: Sequence[LedgerEntry], params: Sequence[str], dialect: Dialect
) -> list[Sequence[Any]]:
    """Return the marks of ledger rows: a column for each part of a `LedgerMark`."""
    errors = [entry.error for entry in entries]
    if any(errors):
        errors = [error and error_text(error, dialect) for error in errors]
    states = column([entry.state for entry in entries])
    step = column([entry.step for entry in entries])
    return [params, states, _texts_of_steps(entries), step, column(errors)]


def _texts_of_steps(entries: Sequence[LedgerEntry]) -> Sequence[str]:
    steps = [entry.steps for entry in entries]
    if steps and len(steps[0]) < 2 and steps.count(steps[0]) == len(steps):
        return Constant(json.dumps(steps[0], ensure_ascii=False), len(steps))
    texts: dict[tuple[tuple[str, str], ...], str] = {}
    found = []
    for own in steps:  # most runs share their steps
        key = tuple(own.items())
        if key not in texts:
            texts[key] = json.dumps(own, ensure_ascii=False)
        found.append(texts[key])
    return column(found)


_BOOKED = attrgetter(
    "error_type", "attempts", "started_at", "duration_s", "flow_run_id", "task_run_id"
)


def ledger_columns(
    entries: Sequence[LedgerEntry],
    marks: Sequence[Sequence[Any]],
    residuals: Sequence[bytes | None],
    dialect: Dialect,
) -> list[Sequence[Any]]:
    """Return what the driver takes for the columns of `STATE`."""
    types, attempts, started, durations, *ids = zip(*map(_BOOKED, entries), strict=True)
    params, states, steps, step, errors = marks
    booked = (types, *times(attempts, started, durations, dialect), *ids, residuals)
    padded = _padded(steps, dialect.steps_block)
    return [params, states, padded, step, errors, *map(column, booked)]


def times(
    attempts: Sequence[int],
    started: Sequence[dt.datetime | None],
    durations: Sequence[float | None],
    dialect: Dialect,
) -> tuple[Sequence[Any], Sequence[Any], Sequence[Any]]:
    """Return attempts, moments and seconds as the driver takes them."""
    moments = for_driver(dialect, DATETIME, _naive(started))
    seconds = [None if duration is None else float(duration) for duration in durations]
    return list(map(int, attempts)), moments, seconds


def _padded(texts: Sequence[str], block: int) -> Sequence[str]:
    """Return texts that end in blanks, so that some more steps take no more room."""
    if block == 1:
        return texts
    padded = {text: text.ljust(-(-len(text) // block) * block) for text in set(texts)}
    return column([padded[text] for text in texts])


def trimmed(texts: Sequence[str]) -> Sequence[str]:
    """Return texts of steps without the blanks that pad them."""
    return column([text.rstrip(" ") for text in texts])


def _naive(moments: Sequence[dt.datetime | None]) -> list[dt.datetime | None]:
    """Return times as the ledger keeps them: UTC, without a zone."""
    known = [moment for moment in moments if moment is not None]
    plain = set(map(type, known)) <= {dt.datetime}
    if plain and {moment.tzinfo for moment in known} <= {None, dt.UTC}:
        text = orjson.dumps(moments).replace(b'+00:00"', b'"')
        return [found and dt.datetime.fromisoformat(found) for found in orjson.loads(text)]
    return [moment and without_zone(moment) for moment in moments]


def aware(moments: Sequence[dt.datetime | None]) -> Sequence[dt.datetime | None]:
    """Return times of the ledger with their zone, UTC."""
    if isinstance(moments, Constant):
        return Constant(aware([moments.value])[0], len(moments))
    return [moment and moment.replace(tzinfo=dt.UTC) for moment in moments]


def parse_steps(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the steps of each distinct JSON text.

    Raises:
        CorruptData: A text is something else.
    """
    found = {text: from_json(text) for text in set(texts)}
    for text, steps in found.items():
        if type(steps) is not dict or not all(type(value) is str for value in steps.values()):
            raise CorruptData(f"the steps {text[:80]!r} of the ledger are no steps")
    return found
