"""The page that shows runs side by side: what differs, what they track, their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from mltraq_prefect.errors import CorruptData, InvalidInput
from mltraq_prefect.model.description import describe
from mltraq_prefect.reports.figures.charts import COLOURS, Line, line_chart
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.wording import duration
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages.requests import name_of, query_of
from mltraq_prefect.ui.pages.run import (
    MOST_SERIES,
    Shown,
    curves_of,
    fields_of,
    params_of,
    read_run,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.model.run import Run
    from mltraq_prefect.storage import Store

MOST_RUNS = COLOURS


class Compared(NamedTuple):
    """A run on the page.

    Attributes:
        experiment: Name of its experiment.
        table: The table of that.
        run: The run.
        label: What it is called.
        params: Its params by key.
        fields: Its fields by key.
    """

    experiment: str
    table: str
    run: Run
    label: str
    params: Mapping[str, Shown]
    fields: Mapping[str, Shown]

    def told(self, keys: Sequence[str]) -> str:
        """Return some of its params in a line."""
        kept = [key for key in keys if key in self.params and not self.params[key].error]
        return describe({key: self.run.params[key] for key in kept})

    @property
    def took(self) -> str:
        """How long it took."""
        seconds = self.run.ledger.duration_s
        return "" if seconds is None else duration(seconds)


def page(store: Store, request: Request) -> str:
    """Return the page.

    Raises:
        ExperimentNotFound: There is no such run.
        InvalidInput: The address names no run, or too many.
    """
    query = query_of(request)
    chosen = list(dict.fromkeys(query.get("r", ())))
    if not 0 < len(chosen) <= MOST_RUNS:
        raise InvalidInput(f"choose up to {MOST_RUNS} runs: check them in the table of runs")
    runs = [_compared(store, own) for own in chosen]
    parts = {part: _rows([getattr(own, part) for own in runs]) for part in ("params", "fields")}
    differing = [key for key, _ in parts["params"][0]]
    return render(
        "compare_runs.html",
        title="Runs side by side",
        refresh=None,
        links=Links(query=query),
        runs=runs,
        has_one_experiment=len({own.table for own in runs}) == 1,
        rows=[("Params", *parts["params"]), ("Fields", *parts["fields"])],
        curves=_curves(runs, differing),
    )


def _compared(store: Store, text: str) -> Compared:
    table, _, id_run = text.partition(":")
    name = name_of(store, table)
    run = read_run(store, name, id_run, columns=[])
    params, label = params_of(run)
    fields = fields_of(store, name, id_run)
    by_key = [{own.key: own for own in part} for part in (params, fields)]
    return Compared(name, table, run, label, *by_key)


Rows = list[tuple[str, list[Shown | None]]]


def _rows(columns: Sequence[Mapping[str, Shown]]) -> tuple[Rows, Rows]:
    """Return what differs between runs, by key, and what does not."""
    keys = dict.fromkeys(key for own in columns for key in own)
    differing: Rows = []
    same: Rows = []
    for key in keys:
        cells = [own.get(key) for own in columns]
        (same if len(cells) > 1 and len(set(cells)) == 1 else differing).append((key, cells))
    return differing, same


def _curves(runs: Sequence[Compared], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Return the curves of all runs over each other, by what was logged.

    Args:
        runs: The runs.
        keys: The params by which they are told apart.
    """
    lines: dict[str, list[Line]] = {}
    for place, own in enumerate(runs):
        try:
            logged = curves_of(own.run)
        except CorruptData:  # the page of the run says so
            continue
        label = f"{place + 1}: {own.told(keys)}"
        for key, line in logged.items():
            lines.setdefault(key, []).append(replace(line, label=label))
    return [
        (key, line_chart(own, "step", key, size=(480.0, 260.0)))
        for key, own in [*lines.items()][:MOST_SERIES]
    ]
