"""Runs as notebooks show them. Nothing is read from the database for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from mltraq_prefect.model import html
from mltraq_prefect.model.files import files_table

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run

MOST_COUNTED = 10_000
"""Runs that are counted by state: an entry of each is made for it."""

_MOST_VALUES = 5


def run_page(run: Run) -> str:
    """Return the page of one run: its params and its fields."""
    entry = run.ledger
    facts = [] if entry.duration_s is None else [f"{entry.duration_s:.3g} s"]
    facts += [] if entry.error is None else [entry.error.strip().splitlines()[-1][:200]]
    parts: list[str] = [html.states({entry.state: 1}), html.note("; ".join(facts))]
    if run.params:
        parts.append(pairs("param", run.params))
    if not run.is_in_memory("fields"):
        parts.append(html.note("its fields are in the database"))
    elif run.fields:
        parts.append(pairs("field", run.fields, 2 * html.MOST_ROWS))
    own = run.own_files.over({})  # those that are stored are not read for it
    if own:
        parts.append(files_table(own))
    return html.page(f"Run {run.describe()}", html.note(run.id_run), *parts)


def runs_page(
    title: str, runs: Collection[Run], about: str = "", fields: Mapping[str, Any] | None = None
) -> str:
    """Return a page about runs.

    Args:
        title: Its heading.
        runs: The runs.
        about: What comes first.
        fields: What is tracked of all of them together.
    """
    first = list(islice(runs, html.MOST_ROWS))
    counted: Counter[str] = Counter(run.ledger.state for run in islice(runs, MOST_COUNTED))
    more = [html.note(f"of the first {MOST_COUNTED:,} runs")] if len(runs) > MOST_COUNTED else []
    own = [pairs("of the experiment", fields)] if fields else []
    tables = _tables(first, len(runs))
    return html.page(title, about, html.states(counted), *more, *own, *tables)


def _tables(first: Sequence[Run], total: int) -> Iterable[str]:
    """Yield what params and fields there are, and the first rows."""
    here = [run for run in first if run.is_in_memory("fields")]
    params = _names([run.params for run in first])
    fields = _names([run.fields for run in here])
    if params:
        yield _summary("param", params, [run.params for run in first])
    if fields:
        yield _summary("field", fields, [run.fields for run in here])
    columns = [("params", name) for name in params] + [("fields", name) for name in fields]
    shown = columns[: html.MOST_COLUMNS - 1]
    if shown:
        headings = [*(html.shown(name) for _, name in shown), "state"]
        yield html.table(headings, ([*_cells(run, shown), run.ledger.state] for run in first))
        rows = f"{len(first):,} of {total:,} runs" if total > len(first) else ""
        left = len(columns) - len(shown)
        hidden = f"{left:,} more columns" if left else ""
        yield html.note("; ".join(filter(None, [rows, hidden])))


def _names(dicts: Iterable[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for item in dicts for name in item))


def _cells(run: Run, columns: Iterable[tuple[str, str]]) -> Iterable[str]:
    for part, name in columns:
        is_here = run.is_in_memory(part)
        yield html.shown(dict.get(getattr(run, part), name)) if is_here else "..."


def _summary(what: str, names: Sequence[str], dicts: Sequence[dict[str, Any]]) -> str:
    rows = []
    for name in names[: html.MOST_ROWS]:
        values = [item[name] for item in dicts if name in item]
        kinds = list(dict.fromkeys(map(html.kind, values)))
        some = list(dict.fromkeys(map(html.shown, values)))
        text = ", ".join(some[:_MOST_VALUES]) + (", ..." if len(some) > _MOST_VALUES else "")
        rows.append(
            [html.shown(name), ", ".join(kinds[:3]), "" if some == kinds else html.short(text)]
        )
    left = len(names) - len(rows)
    rows += [[f"{left:,} more", "", ""]] if left else []
    return html.table([what, "kind", "first values"], rows)


def pairs(what: str, items: Mapping[str, Any], most: int = html.MOST_ROWS) -> str:
    """Return a table of names and values.

    Args:
        what: What they are, as a heading.
        items: The values by name.
        most: How many are shown.
    """
    first = islice(dict(items).items(), most)
    rows = [[html.shown(name), html.kind(value), html.shown(value)] for name, value in first]
    left = len(items) - len(rows)
    rows += [[f"{left:,} more", "", ""]] if left else []
    return html.table([what, "kind", "value"], rows)
