"""MLflow's tables: experiments, runs, params, tags, metrics, inputs and models.

Each run has its params, and these fields: the last value of each metric by its key; ``tags``;
``datasets`` and ``models`` as text; ``run_name`` and ``artifact_uri``. Metrics with several values,
or with steps, are the series of the run.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from mltraq_prefect.exchange.foreign import Foreign
from mltraq_prefect.exchange.found import Found, ParamTypes, Source, id_of
from mltraq_prefect.exchange.report import ImportReport
from mltraq_prefect.exchange.series import Point, put_series
from mltraq_prefect.model.ledger_entry import LedgerEntry, State
from mltraq_prefect.model.run import Run

NAME = "MLflow"

_STATES: dict[str, State] = {"FINISHED": "completed", "FAILED": "failed", "KILLED": "failed"}
_NOT_READ = {
    "trace_info": "traces",
    "assessments": "assessments of traces",
    "registered_models": "registered models, apart from the versions that runs have made",
    "evaluation_datasets": "evaluation datasets",
}

_RUN = ("run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri")


def recognises(database: Foreign) -> bool:
    """Return whether a database is MLflow's."""
    has = database.has
    return (
        has("experiments", "experiment_id", "lifecycle_stage")
        and has("runs", "run_uuid", "experiment_id")
        and has("metrics", "run_uuid", "key", "value")
        and has("params", "run_uuid", "key", "value")
    )


def count(database: Foreign) -> int:
    """Return how many runs there are."""
    return database.count("runs")


def experiments(database: Foreign, report: ImportReport) -> Iterator[Source]:
    """Yield the experiments that are not deleted."""
    for table, what in _NOT_READ.items():
        report.lose(what, "they are not part of a run", database.count(table))
    columns = ("experiment_id", "name", "lifecycle_stage", "artifact_location", "creation_time")
    for row in list(database.rows("experiments", columns, order=["experiment_id"])):
        if row[2] == "deleted":
            report.lose("an experiment", "it was deleted in MLflow")
        else:
            read = partial(_experiment, database, row, report)
            yield Source(row[1], f"mlflow:{row[1]}", read)


def _experiment(database: Foreign, row: tuple[Any, ...], report: ImportReport) -> Found:
    own, _, _, location, created = row
    tags = dict(database.rows("experiment_tags", ("key", "value"), ("experiment_id", own)))
    fields = {"artifact_location": location, "created_at": _moment(created), "tags": tags}
    rows = list(database.rows("runs", _RUN, ("experiment_id", own), order=["start_time"]))
    alive = [run for run in rows if run[5] != "deleted"]
    report.lose("a run", "it was deleted in MLflow", len(rows) - len(alive))
    named = [run for run in alive if isinstance(run[0], str)]
    report.lose("a run", "its id is not text", len(alive) - len(named))
    alive = named
    report.has_read(len(rows) - len(alive))
    report.lose("the artifacts of a run", "no file is copied; artifact_uri says where", len(alive))
    runs = _read(database, alive, report)
    return Found({key: value for key, value in fields.items() if value}, runs)


def _read(database: Foreign, rows: list[tuple[Any, ...]], report: ImportReport) -> Iterator[Run]:
    types = ParamTypes()
    for some in database.batches(rows, "params", "run_uuid"):
        where = ("run_uuid", [row[0] for row in some])
        for key, text in database.rows("params", ("key", "value"), where):
            types.learn(key, text)
    for some in database.batches(rows, "metrics", "run_uuid"):
        for run in _runs(database, some, report):
            types.apply(run.params)
            yield run
        report.has_read(len(some))


def _runs(
    database: Foreign, rows: Sequence[tuple[Any, ...]], report: ImportReport
) -> Iterator[Run]:
    ids = [row[0] for row in rows]
    where = ("run_uuid", ids)
    params: dict[str, dict[str, Any]] = defaultdict(dict)
    tags: dict[str, dict[str, Any]] = defaultdict(dict)
    for table, kept in (("params", params), ("tags", tags)):
        for run, key, value in database.rows(table, ("run_uuid", "key", "value"), where):
            kept[run][key] = value
    metrics, series = _metrics(database, where, report)
    datasets, models = _datasets(database, ids), _models(database, ids)
    for own, name, status, start, end, _, artifacts in rows:
        facts = {
            "run_name": name,
            "tags": tags[own],
            "datasets": datasets[own],
            "models": models[own],
            "artifact_uri": artifacts,
        }
        started, ended = _moment(start), _moment(end)
        entry = LedgerEntry(_STATES.get(status, "pending"), started_at=started)
        entry.duration_s = (ended - started).total_seconds() if started and ended else None
        entry.error = f"MLflow says {status}" if entry.state == "failed" else None
        facts = {key: value for key, value in facts.items() if value not in (None, {}, [])}
        hidden = len(facts.keys() & metrics[own].keys())
        report.lose("a metric of a run", "its name is that of another field", hidden)
        fields = metrics[own] | facts
        run = Run(id_of(own), params=params[own], fields=fields, ledger=entry)
        if own in series:
            put_series(run, "mlflow", series[own], report)
        yield run


def _metrics(
    database: Foreign, where: tuple[str, Any], report: ImportReport
) -> tuple[dict[str, dict[str, Any]], dict[str, list[Point]]]:
    """Return the fields that metrics become, and the points of their series, by run."""
    columns = ("run_uuid", "key", "value", "is_nan", "step", "timestamp")
    points: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for run, key, value, is_nan, step, at in database.rows("metrics", columns, where):
        number = math.nan if is_nan else value
        if isinstance(number, (int, float)) and isinstance(step, int) and isinstance(at, int):
            points[run, key].append(Point(step, at * 1_000, key, float(number)))
        else:
            reason = "it is not a number, or its step or time is not an integer"
            report.lose("a value of a metric", reason)
    fields: dict[str, dict[str, Any]] = defaultdict(dict)
    series: dict[str, list[Point]] = defaultdict(list)
    for (run, key), own in points.items():
        own.sort(key=attrgetter("step", "at"))
        fields[run][key] = own[-1].value
        if len(own) > 1 or own[0].step != 0:
            series[run] += own
    return fields, series


def _datasets(database: Foreign, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return what runs have read, by run."""
    columns = ("source_id", "destination_id", "input_uuid", "source_type", "destination_type")
    inputs = [
        row
        for row in database.rows("inputs", columns, ("destination_id", ids))
        if row[3:] == ("DATASET", "RUN")
    ]
    named = ("name", "digest", "dataset_source_type", "dataset_source", "dataset_profile")
    sets = ("dataset_uuid", [row[0] for row in inputs])
    known = {own: rest for own, *rest in database.rows("datasets", ("dataset_uuid", *named), sets)}
    tags: dict[str, dict[str, Any]] = defaultdict(dict)
    of_inputs = ("input_uuid", [row[2] for row in inputs])
    for own, key, value in database.rows("input_tags", ("input_uuid", "name", "value"), of_inputs):
        tags[own][key] = value
    found = defaultdict(list)
    for dataset, run, own, *_ in inputs:
        if dataset in known:
            described = dict(zip(named, known[dataset], strict=True)) | {"tags": tags[own]}
            found[run].append({key: value for key, value in described.items() if value})
    return found


def _models(database: Foreign, ids: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return references to the models that runs have made, by run."""
    found = defaultdict(list)
    for table, run, columns in (
        ("logged_models", "source_run_id", ("model_id", "name", "model_type", "artifact_location")),
        ("model_versions", "run_id", ("name", "version", "current_stage", "source")),
    ):
        for own, *rest in database.rows(table, (run, *columns), (run, ids)):
            known = zip(columns, rest, strict=True)
            found[own].append({key: value for key, value in known if value not in (None, "None")})
    return found


def _moment(milliseconds: Any) -> dt.datetime | None:
    """Return a time, which MLflow gives in milliseconds since 1970."""
    if not isinstance(milliseconds, (int, float)) or not milliseconds:
        return None
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)
    except (OverflowError, ValueError):
        return None
