"""The table of the runs of an experiment: filtered, sorted, a page at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.reports.figures.charts import COLOURS
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.study.results import CORRUPT, Column
from mltraq_prefect.ui.links import LARGE, OPERATORS, parsed
from mltraq_prefect.ui.pages.requests import page_number

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.reports.study.study import Study
    from mltraq_prefect.ui.links import Links

ON_A_PAGE = 50
MOST_COLUMNS = 14
"""Shown at first, if a person has chosen none."""


_LEDGER = ("state", "duration_s")


def runs_table(study: Study, links: Links) -> str:
    """Return the table, as what the address has chosen."""
    query = links.query
    columns = {own.name: own for own in study.columns}
    filters = [text for text in query.get("f", ()) if text] + _added(query)
    links.query = {**query, "f": filters}
    for name in ("column", "operator", "value"):
        links.query.pop(name, None)
    where = [parsed(text, study.columns) for text in filters]
    order = columns.get(_one(query, "sort"))
    descending, number = _one(query, "desc") == "1", page_number(query)
    shown = _shown(study, columns, query.get("c", ()))
    frame, total = study.results.page(
        [columns["id_run"], *shown],
        where=where,
        order=order,
        descending=descending,
        start=(number - 1) * ON_A_PAGE,
        most=ON_A_PAGE,
    )
    if not query.get("c"):
        shown = [own for own in shown if own.name == _one(query, "sort") or _has(frame, own)]
    cells = frame[["id_run", *(own.name for own in shown)]]
    rows = cells.astype(object).where(cells.notna(), None).to_numpy().tolist()
    corrupt = frame.attrs[CORRUPT]
    return render(
        "sections/runs.html",
        links=links,
        columns=shown,
        known=[own for own in study.columns if own.source != "run"],
        rows=list(zip(rows, corrupt, strict=True)),
        total=total,
        most=COLOURS,
        number=number,
        pages=max(1, math.ceil(total / ON_A_PAGE)),
        sort=None if order is None else order.name,
        descending=descending,
        filters=[
            (text, _without(filters, text), condition)
            for text, condition in zip(filters, where, strict=True)
        ],
        operators={**dict(OPERATORS), "missing": "is missing"},
    )


def _added(query: Any) -> list[str]:
    """Return the condition that the form adds."""
    column, value = _one(query, "column"), _one(query, "value")
    operator = _one(query, "operator")
    return [f"{column}:{operator}:{value}"] if column and (value or operator == "missing") else []


def _shown(study: Study, columns: dict[str, Column], chosen: Sequence[str]) -> list[Column]:
    if chosen:
        return [columns[name] for name in chosen if name in columns]
    params = [own.column for own in study.params]
    first = [own for own in (study.metric,) if own is not None and own.source == "field"]
    fields = [own for own in study.columns if own.source == "field" and own.kind not in LARGE]
    ledger = [own for own in study.columns if own.source == "ledger" and own.key in _LEDGER]
    kept = [*first, *params, *(own for own in fields if own not in first)]
    return kept[: MOST_COLUMNS - len(ledger)] + ledger


def _has(frame: pd.DataFrame, column: Column) -> bool:
    """Return whether a column has anything on a page; families have params of their own."""
    return bool(frame[column.name].notna().any()) or frame.empty


def _one(query: Any, name: str) -> str:
    return next(iter(query.get(name, ())), "")


def _without(filters: Sequence[str], text: str) -> list[str]:
    return [own for own in filters if own != text]
