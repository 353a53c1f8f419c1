"""Optuna's tables: studies, trials, params with their distributions, values and attributes.

Each run has the params of a trial, and these fields: ``number``; ``value``, or ``values`` of
several objectives; ``intermediate_values`` with steps; ``trial_state``; ``user_attrs.<key>`` and
``system_attrs.<key>``; and ``distributions``.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.exchange.foreign import Foreign
from mltraq_prefect.exchange.found import Found, Source, id_of
from mltraq_prefect.exchange.report import ImportReport
from mltraq_prefect.model.ledger_entry import LedgerEntry, State
from mltraq_prefect.model.run import Run

NAME = "Optuna"

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
    runs: list[Run] = []
    for start in range(0, len(begun), 500):
        runs += _runs(database, name, begun[start : start + 500], report)
    return Found(fields, runs)


def _runs(
    database: Foreign, study: str, rows: list[tuple[Any, ...]], report: ImportReport
) -> Iterator[Run]:
    where = ("trial_id", [row[0] for row in rows])
    params, distributions = _params(database, where, report)
    fields = _values(database, where)
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
        yield Run(own, params=params[trial], fields=known, ledger=entry)


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
    """Return the values of objectives, and intermediate ones, by trial."""
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    values = defaultdict(list)
    rows = database.rows("trial_values", ("trial_id", "value", "value_type"), where, ["objective"])
    for trial, value, type_ in rows:
        values[trial].append(_SPECIAL.get(type_, value))
    for trial, own in values.items():
        found[trial] |= {"value": own[0]} if len(own) == 1 else {"values": own}
    columns = ("trial_id", "step", "intermediate_value", "intermediate_value_type")
    steps: dict[int, dict[str, list[Any]]] = defaultdict(lambda: {"value": [], "step": []})
    for trial, step, value, type_ in database.rows(
        "trial_intermediate_values", columns, where, ["step"]
    ):
        steps[trial]["value"].append(_SPECIAL.get(type_, math.nan if value is None else value))
        steps[trial]["step"].append(step)
    for trial, history in steps.items():
        found[trial]["intermediate_values"] = history
    return found


def _json(text: Any, report: ImportReport) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        report.lose("an attribute or distribution", "it is no JSON")
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
    return found.astimezone(dt.UTC) if isinstance(found, dt.datetime) else None
