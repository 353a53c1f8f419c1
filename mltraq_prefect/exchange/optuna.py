"""Optuna's tables: studies, trials, params with their distributions, values and attributes.

Each run has the params of a trial, and these fields: ``number``; ``value``, or ``values`` of
several objectives; ``trial_state``; ``user_attrs.<key>`` and ``system_attrs.<key>``; and
``distributions``. Intermediate values are the series of the run.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.exchange.foreign import Foreign
from mltraq_prefect.exchange.found import Found, Source, id_of
from mltraq_prefect.exchange.report import ImportReport
from mltraq_prefect.exchange.series import EPOCH, Point, put_series
from mltraq_prefect.model.ledger_entry import LedgerEntry, State
from mltraq_prefect.model.run import Run

NAME = "Optuna"

SERIES = "intermediate_value"
"""The key of series. Optuna does not know when a value was reported: each has the trial's start."""

_STATES: dict[str, State] = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "failed"}
_SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
_TRIAL = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
_INTEGERS = ("IntDistribution", "IntUniformDistribution", "IntLogUniformDistribution")


def recognises(database: Foreign) -> bool:
    """Return whether a database is Optuna's, from 2.4 on."""
    has = database.has
    return (
        has("studies", "study_id", "study_name")
        and has("trials", "trial_id", "study_id", "number", "state")
        and has("trial_params", "trial_id", "param_name", "distribution_json")
        and has("trial_values", "trial_id", "objective", "value")
    )


def count(database: Foreign) -> int:
    """Return how many trials there are."""
    return database.count("trials")


def experiments(database: Foreign, report: ImportReport) -> Iterator[Source]:
    """Yield the studies."""
    for own, name in list(database.rows("studies", ("study_id", "study_name"), order=["study_id"])):
        yield Source(name, f"optuna:{name}", partial(_study, database, own, name, report))


def _study(database: Foreign, own: int, name: str, report: ImportReport) -> Found:
    where = ("study_id", own)
    directions = database.rows("study_directions", ("direction",), where, ["objective"])
    fields: dict[str, Any] = {"directions": [direction.lower() for (direction,) in directions]}
    for kind in ("user", "system"):
        attributes = database.rows(f"study_{kind}_attributes", ("key", "value_json"), where)
        fields |= {f"{kind}_attrs.{key}": _json(text, report) for key, text in attributes}
    rows = list(database.rows("trials", _TRIAL, where, order=["number"]))
    begun = [row for row in rows if row[2] != "WAITING"]
    report.lose("a trial", "it has not begun", len(rows) - len(begun))
    return Found(fields, _read(database, name, begun, report))


def _read(
    database: Foreign, study: str, rows: list[tuple[Any, ...]], report: ImportReport
) -> Iterator[Run]:
    for some in database.batches(rows, "trial_intermediate_values", "trial_id"):
        yield from _runs(database, study, some, report)
        report.has_read(len(some))


def _runs(
    database: Foreign, study: str, rows: Sequence[tuple[Any, ...]], report: ImportReport
) -> Iterator[Run]:
    where = ("trial_id", [row[0] for row in rows])
    params, distributions = _params(database, where, report)
    fields, steps = _values(database, where), _steps(database, where, report)
    for kind in ("user", "system"):
        table, columns = f"trial_{kind}_attributes", ("trial_id", "key", "value_json")
        for trial, key, text in database.rows(table, columns, where):
            fields[trial][f"{kind}_attrs.{key}"] = _json(text, report)
    for trial, number, state, start, end in rows:
        started, ended = _moment(start), _moment(end)
        entry = LedgerEntry(_STATES.get(state, "pending"), started_at=started)
        entry.duration_s = (ended - started).total_seconds() if started and ended else None
        entry.error = f"Optuna says {state}" if entry.state == "failed" else None
        known = {"number": number, "trial_state": state, **fields[trial]}
        known |= {"distributions": distributions[trial]} if trial in distributions else {}
        own = id_of(f"optuna\n{study}\n{number}\n{_as_shown(start)}")
        run = Run(own, params=params[trial], fields=known, ledger=entry)
        at = _microseconds(started)
        put_series(run, "optuna", [Point(n, at, SERIES, x) for n, x in steps[trial]], report)
        yield run


def _params(
    database: Foreign, where: tuple[str, Any], report: ImportReport
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """Return params and their distributions by trial."""
    params: dict[int, dict[str, Any]] = defaultdict(dict)
    distributions: dict[int, dict[str, Any]] = defaultdict(dict)
    columns = ("trial_id", "param_name", "param_value", "distribution_json")
    for trial, key, value, text in database.rows("trial_params", columns, where, ["param_id"]):
        distribution = _json(text, report)
        try:
            params[trial][key] = _param(value, distribution)
            distributions[trial][key] = distribution
        except CorruptData as error:
            report.lose("a param of a trial", error.reason)
    return params, distributions


def _param(value: Any, distribution: Any) -> Any:
    """Return the value that Optuna keeps as a float."""
    try:
        name, attributes = distribution["name"], distribution["attributes"]
        if name == "CategoricalDistribution":
            choices: list[Any] = attributes["choices"]
            if not 0 <= int(value) < len(choices):
                raise IndexError
            return choices[int(value)]
        return int(value) if name in _INTEGERS else float(value)
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        raise CorruptData("its distribution does not say what its value means") from None


def _values(database: Foreign, where: tuple[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the values of objectives by trial."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    values = defaultdict(list)
    rows = database.rows("trial_values", ("trial_id", "value", "value_type"), where, ["objective"])
    for trial, value, type_ in rows:
        values[trial].append(_SPECIAL.get(type_, value))
    for trial, own in values.items():
        found[trial] |= {"value": own[0]} if len(own) == 1 else {"values": own}
    return found


def _steps(
    database: Foreign, where: tuple[str, Any], report: ImportReport
) -> dict[int, list[tuple[int, float]]]:
    """Return steps and intermediate values by trial."""
    columns = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    found: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for trial, step, value, type_ in database.rows("trial_intermediate_values", columns, where):
        if isinstance(step, int):
            found[trial].append((step, _SPECIAL.get(type_, math.nan if value is None else value)))
        else:
            report.lose("an intermediate value", "its step is not an integer")
    return found


def _json(text: Any, report: ImportReport) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        report.lose("an attribute or distribution", "it is not JSON")
        return None


def _as_shown(value: Any) -> Any:
    """Return a time as Optuna has it: without a zone, so that it is the same on each machine."""
    try:
        return dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None


def _moment(value: Any) -> dt.datetime | None:
    """Return a time in UTC; Optuna has it in the zone of its machine, which is taken for ours."""
    found = _as_shown(value)
    try:
        return found.astimezone(dt.UTC) if isinstance(found, dt.datetime) else None
    except (ValueError, OverflowError):  # the first or last day of the calendar
        return None


def _microseconds(moment: dt.datetime | None) -> int:
    """Return the microseconds since 1970."""
    return 0 if moment is None else (moment - EPOCH) // dt.timedelta(microseconds=1)
