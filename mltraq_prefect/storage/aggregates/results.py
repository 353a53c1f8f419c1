"""Results of an experiment for pages and reports: counted and averaged by the database.

What is read is bounded whatever the experiment: groups, a page, a sample; never all of its runs.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mltraq_prefect.errors import CorruptData, StoreError
from mltraq_prefect.reports.study.results import (
    CORRUPT,
    Column,
    Condition,
    Curves,
    Failure,
    Grouped,
    Header,
    Origins,
    StateTotal,
)
from mltraq_prefect.storage.aggregates.results_curves import curves
from mltraq_prefect.storage.aggregates.results_groups import Asked, groups
from mltraq_prefect.storage.aggregates.results_view import ResultsView
from mltraq_prefect.storage.reading import reader
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import executions, views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.views import ViewColumn
from mltraq_prefect.storage.values.kinds import BOOL, INT
from mltraq_prefect.storage.values.names import view_name
from mltraq_prefect.storage.values.params import parse_params

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Select = Callable[[Transaction], T]
Read = Callable[[Select[Any]], Any]

SHOWN_COLUMNS = 12
"""Number of params, and of fields, in the statement that a person may copy."""

MOST_OF_ERROR = 20_000


class StoredResults:
    """Reads the results of a stored experiment; see `reports.study.results.Results`.

    Args:
        read: Runs a function of a transaction.
        name: Name of the experiment.
        last: If it has more runs than this, only the last ones are read; all if None.
        is_quick: Whether groups of very many runs are those of some, which are spread evenly.

    Attributes:
        corrupt: How many runs have been found whose params are corrupt; they are read as missing.
    """

    def __init__(
        self, read: Read, name: str, last: int | None = None, *, is_quick: bool = False
    ) -> None:
        self._read, self._name, self._last, self._is_quick = read, name, last, is_quick
        self.corrupt = 0

    def _reading(self, select: Callable[[ResultsView], T]) -> T:
        def run(transaction: Transaction) -> T:
            entry = reader.stored_entry(transaction, self._name)
            is_guarded, is_quick = self.corrupt > 0, self._is_quick
            view = ResultsView(
                transaction, entry, self._last, is_guarded=is_guarded, is_quick=is_quick
            )
            return select(view)

        found: T
        try:
            found = self._read(run)
        except StoreError:  # corrupt params are seen by it: without an error, nobody looks for some
            self.corrupt = self.corrupt or self._read(self._corrupt_count)
            if not self.corrupt:
                raise
            found = self._read(run)
        return found

    def _corrupt_count(self, transaction: Transaction) -> int:
        entry = reader.stored_entry(transaction, self._name)
        return ResultsView(transaction, entry, None, is_guarded=False).corrupt_count()

    def header(self) -> Header:
        """Return the experiment as a whole."""
        return self._reading(_header)

    def statement(self) -> str:
        """Return a statement for a person: params and numbers, one row a run."""
        return self._reading(_statement)

    def columns(self) -> Sequence[Column]:
        """Return the columns of its view."""
        return self._reading(lambda view: [_told(own) for own in view.columns.values()])

    def groups(
        self,
        by: Sequence[Column],
        metrics: Sequence[Column],
        *,
        part: Column | None = None,
        descending: bool = True,
        most: int = 20,
        parts: int = 12,
    ) -> Sequence[Grouped]:
        """Return the runs in groups, those with the best mean of the first metric first."""
        asked = Asked(by, metrics, part, descending, most, parts)
        return self._reading(lambda view: groups(view, asked))

    def sample(self, columns: Sequence[Column], most: int) -> pd.DataFrame:
        """Return the runs in order; about `most` of them, spread evenly, if there are more."""
        return self._reading(lambda view: _sample(view, columns, most))

    def page(
        self,
        columns: Sequence[Column],
        *,
        where: Sequence[Condition] = (),
        order: Column | None = None,
        descending: bool = False,
        start: int = 0,
        most: int = 50,
    ) -> tuple[pd.DataFrame, int]:
        """Return some runs in an order, and the number of all that meet the conditions."""
        return self._reading(
            lambda view: _page(view, columns, where, (order, descending), (start, most))
        )

    def logged(self) -> Sequence[str]:
        """Return the keys of the series whose values are numbers."""
        return self._reading(lambda view: list(view.logged()))

    def curves(
        self, keys: Sequence[str], by: Column | None, part: Column | None, most: int
    ) -> Curves:
        """Return means of what was logged, by step, in about `most` steps at most."""
        return self._reading(lambda view: curves(view, keys, (part, by), most))

    def failures(self, most: int) -> Sequence[Failure]:
        """Return failed runs in order."""
        return self._reading(lambda view: _failures(view, most))

    def origins(self, most: int, also: Sequence[str] = ()) -> Origins:
        """Return the latest executions, and others that are asked for by their ids."""
        return self._reading(
            lambda view: executions.origins(view.transaction, view.entry.id_experiment, most, also)
        )


def _told(own: ViewColumn) -> Column:
    return Column(own.name, own.key, own.source, own.kind.name, own.kind.is_numeric)


def _header(view: ResultsView) -> Header:
    entry, known = view.entry, view.entry.properties
    return Header(
        entry.name,
        entry.table,
        entry.run_count,
        _counted(entry) if view.is_cut or view.is_large else states_of(view.transaction, entry),
        _moment(known.get("created_at")),
        _moment(known.get("updated_at")),
        entry.revision,
        entry.annotations.note,
        entry.annotations.tags,
        view.runs,
    )


def _counted(entry: Entry) -> dict[str, StateTotal]:
    """Return how many runs are in each state, as the experiment counts them."""
    unknown = float("nan")
    counts = {state: count for state, count in entry.states.items() if count}
    return {state: StateTotal(count, unknown, unknown) for state, count in counts.items()}


def states_of(transaction: Transaction, entry: Entry) -> dict[str, StateTotal]:
    """Return how many runs are in each state, and what they took."""
    rows = transaction.rows(
        "SELECT state, count(*), sum(duration_s), max(duration_s) FROM experiment_runs "
        "WHERE id_experiment = ? GROUP BY state ORDER BY state",
        (entry.id_experiment,),
    )
    return {
        state: StateTotal(int(count), float(total or 0), float(longest or 0))
        for state, count, total, longest in rows
    }


def _statement(view: ResultsView) -> str:
    """Return a statement for a person: params and numbers of each run."""
    entry, dialect = view.entry, view.dialect
    quote = view.transaction.connection.dialect.identifier_preparer.quote  # only where it must be
    fields = [own.name for own in view.columns.values() if _is_number(own)][:SHOWN_COLUMNS]
    if entry.view is not None and dialect.has_views:
        params = [own.name for own in view.columns.values() if own.source == "param"]
        names = [*params[:SHOWN_COLUMNS], *fields, *_states(view)]
        return f"SELECT {', '.join(map(quote, names))}\nFROM {quote(view_name(entry.name))}"
    return f"SELECT {', '.join(map(quote, fields or ['id_run']))}\nFROM {quote(entry.table)}"


def _states(view: ResultsView) -> list[str]:
    return [
        own.name for own in view.columns.values() if own.source == "ledger" and own.key == "state"
    ]


def _is_number(own: ViewColumn) -> bool:
    return own.source == "field" and own.kind.is_numeric


def _moment(text: str | None) -> datetime.datetime | None:
    return None if text is None else datetime.datetime.fromisoformat(text)


def _sample(view: ResultsView, columns: Sequence[Column], most: int) -> pd.DataFrame:
    frame = _frame(view, columns, f"{view.spread(most)} ORDER BY {views.ORDER}")
    frame.attrs.clear()  # pandas copies them with each selection
    return frame


def _page(
    view: ResultsView,
    columns: Sequence[Column],
    where: Sequence[Condition],
    ordered: tuple[Column | None, bool],
    place: tuple[int, int],
) -> tuple[pd.DataFrame, int]:
    total = view.runs
    if where:
        tables, bound = view.chosen(where, None)
        total = int(view.transaction.rows(f"SELECT COUNT(*) FROM {tables}", bound)[0][0])
    return _frame(view, columns, *_places(view, where, ordered, place)), total


def _places(
    view: ResultsView,
    where: Sequence[Condition],
    ordered: tuple[Column | None, bool],
    place: tuple[int, int],
) -> tuple[str, Sequence[Any]]:
    """Return what the runs of a page are selected from, and what is bound in it.

    Their positions are found first: what all runs are sorted with is as little as can be.
    """
    order, (start, most) = views.ORDER, place
    if ordered[0] is not None:
        own = view.sortable(ordered[0])
        order = f"{own} IS NULL, {own} {'DESC' if ordered[1] else 'ASC'}, {order}"
    tables, bound = view.chosen(where, [] if ordered[0] is None else [ordered[0]])
    sql = f"SELECT {views.ORDER} FROM {tables} ORDER BY {order} LIMIT {most:d} OFFSET {start:d}"
    positions = [int(position) for (position,) in view.transaction.rows(sql, bound)]
    marks = ", ".join("?" * len(positions)) or "NULL"
    return f"{view.tables} WHERE {views.ORDER} IN ({marks}) ORDER BY {order}", positions


def _frame(
    view: ResultsView, columns: Sequence[Column], selected: str, bound: Sequence[Any] = ()
) -> pd.DataFrame:
    import pandas as pd

    chosen = [view.columns[own.name] for own in columns]
    names = [*(view.select(own) for own in chosen), view.corrupt if view.is_guarded else "0"]
    sql = f"SELECT {', '.join(names)} FROM {selected}"
    *found, corrupt = view.transaction.select(sql, [*view.makers(chosen), list], bound)
    frame = pd.DataFrame(
        {own.name: _column(own, cells) for own, cells in zip(chosen, found, strict=True)}
    )
    frame.attrs[CORRUPT] = [bool(own) for own in corrupt]
    return frame


def _column(own: ViewColumn, cells: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    if own.kind.is_numeric and own.kind is not BOOL:
        exact = own.kind is INT and None not in cells
        return pd.Series(list(cells), dtype=np.int64 if exact else np.float64)
    return pd.Series(list(cells), dtype=object)


def _failures(view: ResultsView, most: int) -> Sequence[Failure]:
    rows = view.transaction.rows(
        f"SELECT id_run, params, step, COALESCE(SUBSTR(error, 1, {MOST_OF_ERROR}), '') "
        "FROM experiment_runs "
        "WHERE id_experiment = ? AND state = 'failed' AND position >= ? "
        f"ORDER BY position LIMIT {most:d}",
        (view.entry.id_experiment, view.first),
    )
    return [Failure(id_run, _params(text), *rest) for id_run, text, *rest in rows]


def _params(text: str) -> Mapping[str, Any]:
    try:
        return parse_params([text])[0]
    except CorruptData:
        return {"params": "corrupt"}
