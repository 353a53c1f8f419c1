"""The list of experiments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mltraq_prefect.errors import MltraqError
from mltraq_prefect.reports.figures.bars import sparkline, state_bar
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.study.study import floats, likely_metric
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages.requests import page_number, query_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.storage import Store

ON_A_PAGE = 50
POINTS = 60
"""A sparkline is of so many runs, the last ones."""

STATES = ("completed", "stopped", "failed", "pending")


def page(store: Store, request: Request) -> str:
    """Return the page."""
    query = query_of(request)
    words = " ".join(query.get("q", ())).strip()
    tag = next(iter(query.get("tag", ())), "")
    found = [
        row
        for row in store.ls(has_sizes=False)
        if words.lower() in row["name"].lower() and (not tag or tag in row["tags"])
    ]
    pages = max(1, math.ceil(len(found) / ON_A_PAGE))
    number = min(page_number(query), pages)
    found.sort(key=lambda row: str(row["updated_at"]), reverse=True)
    shown = found[(number - 1) * ON_A_PAGE : number * ON_A_PAGE]
    rows = [_row(store, row) for row in shown]
    return render(
        "experiments.html",
        title="Experiments",
        refresh=None,
        links=Links(query=query),
        rows=rows,
        words=words,
        total=len(found),
        database=store.url,
        number=number,
        pages=pages,
        tag=tag,
    )


def _row(store: Store, row: Mapping[str, Any]) -> dict[str, Any]:
    counts = {state: row[state] for state in STATES if row.get(state)}
    metric, line = _metric(store, row["name"])
    size = store.size(row["name"])
    return {**row, "bar": state_bar(counts, 120.0), "metric": metric, "line": line, "bytes": size}


def _metric(store: Store, name: str) -> tuple[str, str]:
    """Return the name of the main metric and its line; empty if there is none, or it is corrupt."""
    results = store.results(name, last=POINTS)
    try:
        metric = likely_metric([own for own in results.columns() if own.source == "field"])
        if metric is None:
            return "", ""
        values = floats(results.sample([metric], POINTS)[metric.name]).tolist()
    except MltraqError:  # the page of the experiment says what is wrong
        return "", ""
    return metric.name, sparkline(values)
