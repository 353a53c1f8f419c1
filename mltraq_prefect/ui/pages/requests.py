"""What pages have in common: the experiment that an address names, and what is chosen there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mltraq_prefect.errors import ExperimentNotFound
from mltraq_prefect.reports.study.study import Choice, Study

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.storage import Store

MOST_DIGITS = 12
"""Of the number of a page; databases count rows in 64 bits."""


def query_of(request: Request) -> dict[str, Sequence[str]]:
    """Return what the address of a page has after the question mark."""
    params = request.query_params
    return {name: params.getlist(name) for name in params}


def study_of(store: Store, request: Request) -> Study:
    """Return the study that an address stands for.

    Raises:
        ExperimentNotFound: There is no experiment with this table.
        InvalidInput: It has no such metric or param.
    """
    query, name = query_of(request), name_of(store, request.path_params["table"])
    return Study(store.results(name, is_quick="all" not in query), choice_of(query))


def name_of(store: Store, table: str) -> str:
    """Return the name of the experiment whose table of runs has a name."""
    name = store.name_of(table)
    if name is None:
        raise ExperimentNotFound("there is no such experiment; it may have been deleted or renamed")
    return name


def choice_of(query: dict[str, Sequence[str]]) -> Choice:
    """Return what an address chooses to be shown."""
    lower = {"1": True, "0": False}.get(next(iter(query.get("lower", ())), ""))
    metric = next(iter(query.get("metric", ())), None)
    return Choice(metric or None, lower, tuple(query["by"]) if query.get("by") else None)


def page_number(query: Mapping[str, Sequence[str]]) -> int:
    """Return the number of the page of a table; 1 if the address has none."""
    text = next(iter(query.get("page", ())), "")
    return max(1, int(text)) if text.isdecimal() and len(text) < MOST_DIGITS else 1
