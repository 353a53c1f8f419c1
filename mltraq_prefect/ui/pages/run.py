"""The page of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pandas.api.types import is_numeric_dtype

from mltraq_prefect.errors import CorruptData, ExperimentNotFound
from mltraq_prefect.model.description import describe
from mltraq_prefect.reports.figures.charts import Line, line_chart
from mltraq_prefect.reports.html.render import render, size
from mltraq_prefect.reports.html.values import kind_of, value_html
from mltraq_prefect.reports.study.study import short_value
from mltraq_prefect.reports.wording import duration
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages.prefect import run_pages
from mltraq_prefect.ui.pages.requests import name_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.model.ledger_entry import Facts
    from mltraq_prefect.model.run import Run
    from mltraq_prefect.storage import Store


MOST_NAMED = 8
"""A run is called by its first params."""

MOST_SERIES = 12
MOST_POINTS = 500


class Shown(NamedTuple):
    """A param or field on the page.

    Attributes:
        key: Its key.
        kind: What it is.
        html: What it looks like.
        error: What is wrong with what is stored; empty if nothing is.
    """

    key: str
    kind: str
    html: str
    error: str = ""


def page(store: Store, request: Request) -> str:
    """Return the page."""
    table, id_run = request.path_params["table"], request.path_params["id_run"]
    name = name_of(store, table)
    run = read_run(store, name, id_run, columns=[])
    params, label = params_of(run)
    context: dict[str, Any] = {
        "name": name,
        "run": run,
        "label": label,
        "params": params,
        "fields": fields_of(store, name, id_run),
        "series": _series(run),
        "files": [(own.name, size(own.size), own.sha256) for own in run.files.values()],
        "entry": run.ledger,
        "steps": [
            (step, own, run_pages(own), _cost(own)) for step, own in run.ledger.executions.items()
        ],
        "cost": _cost(run.ledger),
        "pages": run_pages(run.ledger),
    }
    links = Links(table)
    return render("run.html", title=f"{name}: {label}", refresh=None, links=links, **context)


def params_of(run: Run) -> tuple[list[Shown], str]:
    """Return the params of a run, and what it is called."""
    try:
        params = run.params
    except CorruptData as error:
        return [Shown("params", "", "", str(error.reason))], run.id_run
    shown = [_shown(key, value) for key, value in params.items()]
    return shown, _named(params) or "run without params"


def _named(params: Mapping[str, Any]) -> str:
    """Return what a run is called: its first params, and how many more there are."""
    first = list(params.items())[:MOST_NAMED]
    told = describe({key: short_value(own) if isinstance(own, str) else own for key, own in first})
    left = len(params) - len(first)
    return f"{told}, and {left:,} more" if left else told


def _cost(entry: Facts) -> str:
    """Return where something ran, and what it has cost besides time, as far as that is known."""
    parts = []
    if entry.cpu_s is not None:
        parts.append(f"{duration(entry.cpu_s)} of CPU")
    if entry.peak_rss_bytes is not None:
        parts.append(f"{size(entry.peak_rss_bytes)} of memory")
    if entry.worker is not None:
        parts.append(f"on {entry.worker}")
    return ", ".join(parts)


def _series(run: Run) -> list[tuple[str, str]]:
    """Return what the run has logged: each key of numbers with its curve."""
    try:
        curves = curves_of(run)
    except CorruptData as error:
        return [(f"corrupt: {error.reason}", "")]
    return [
        (key, line_chart([line], "step", key, size=(460.0, 220.0))) for key, line in curves.items()
    ]


def curves_of(run: Run) -> dict[str, Line]:
    """Return what a run has logged: a line for each key of numbers.

    Raises:
        CorruptData: Its rows cannot be read.
    """
    frame = run.series
    found = {}
    for key in [own for own in frame.columns if own not in ("seq", "step", "at")][:MOST_SERIES]:
        known = frame[frame[key].notna()]
        if not len(known) or not is_numeric_dtype(known[key].infer_objects()):
            continue
        known = known.iloc[:: -(-len(known) // MOST_POINTS)]
        steps = known["step"].where(known["step"].notna(), known["seq"]).astype(float).tolist()
        values = known[key].astype(float).tolist()
        found[key] = Line("", steps, values, [math.nan] * len(values))
    return found


def read_run(store: Store, name: str, id_run: str, columns: list[str]) -> Run:
    """Return a run with some of its fields.

    Raises:
        ExperimentNotFound: There is none.
    """
    runs = store.read(name, columns=columns, ids=[id_run]).runs
    found = next((run for run in runs if run.id_run == id_run), None)
    if found is None:
        raise ExperimentNotFound(f"experiment {name!r} has no such run; it may have been deleted")
    return found


def fields_of(store: Store, name: str, id_run: str) -> list[Shown]:
    """Return all fields: read at once, or each by itself if something stored is corrupt."""
    keys = store.keys(name)
    try:
        run = read_run(store, name, id_run, columns=keys)
        return [_shown(key, run.fields[key]) for key in keys if key in run.fields]
    except CorruptData:
        found = (_field(store, name, id_run, key) for key in keys)
        return [own for own in found if own is not None]


def _field(store: Store, name: str, id_run: str, key: str) -> Shown | None:
    """Return a field, read by itself: what is wrong with one is no trouble for the others."""
    try:
        run = read_run(store, name, id_run, columns=[key])
        return _shown(key, run.fields[key]) if key in run.fields else None
    except CorruptData as error:
        return Shown(key, "", "", str(error.reason))


def _shown(key: str, value: Any) -> Shown:
    return Shown(key, kind_of(value), value_html(value))
