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
    Curve,
    Failure,
    Grouped,
    Header,
    Origins,
    StateTotal,
)
from mltraq_prefect.storage import executions, reader, views
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.results_curves import curves, moments_of, squared_distances
from mltraq_prefect.storage.results_view import ResultsView
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.columns import Maker
from mltraq_prefect.storage.values.kinds import BOOL, INT
from mltraq_prefect.storage.values.names import view_name
from mltraq_prefect.storage.values.params import parse_params
from mltraq_prefect.storage.views import ViewColumn

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
Select = Callable[[Transaction], T]
Read = Callable[[Select[Any]], Any]

SHOWN_COLUMNS = 12
"""Number of params, and of fields, in the statement that a person may copy."""

MOST_OF_ERROR = 20_000

GOLDEN, WORDS = 2_654_435_769, 2**32
"""The golden section of all numbers of 32 bits, and how many these are (Knuth, volume 3, 6.4)."""


class StoredResults:
    """Reads the results of a stored experiment; see `reports.study.results.Results`.

    Args:
        read: Runs a function of a transaction.
        name: Name of the experiment.
        last: If it has more runs than this, only the last ones are read; all if None.

    Attributes:
        corrupt: How many runs have been found whose params are corrupt; they are read as missing.
    """

    def __init__(self, read: Read, name: str, last: int | None = None) -> None:
        self._read, self._name, self._last = read, name, last
        self.corrupt = 0

    def _reading(self, select: Callable[[ResultsView], T]) -> T:
        def run(transaction: Transaction) -> T:
            entry = reader.stored_entry(transaction, self._name)
            is_guarded = self.corrupt > 0
            return select(ResultsView(transaction, entry, self._last, is_guarded=is_guarded))

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
        where: Sequence[Condition] = (),
        descending: bool = True,
        most: int = 20,
    ) -> Grouped:
        """Return the runs in groups, those with the best mean of the first metric first."""
        return self._reading(lambda view: _groups(view, by, metrics, where, descending, most))

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

    def curves(self, key: str, by: Column | None, most: int) -> Sequence[Curve]:
        """Return means of what was logged, by step, in about `most` steps at most."""
        return self._reading(lambda view: curves(view, key, by, most))

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
        _counted(entry) if view.is_cut else states_of(view.transaction, entry),
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


def _groups(
    view: ResultsView,
    by: Sequence[Column],
    metrics: Sequence[Column],
    where: Sequence[Condition],
    descending: bool,
    most: int,
) -> Grouped:
    condition, bound = view.condition(where)
    keys = [f"{view.columns[own.name].sql} AS g{place}" for place, own in enumerate(by)]
    numbers = [f"{view.number(own)} AS m{place}" for place, own in enumerate(metrics)]
    inner = ", ".join([*keys, *numbers, "r.state AS run_state"])
    names = [f"g{place}" for place in range(len(by))]
    shifts = _shifts(view, metrics)
    sums = [
        part
        for place in range(len(metrics))
        for part in (
            f"COUNT(m{place})",
            f"AVG(m{place})",
            squared_distances(f"m{place}"),
        )
    ]
    failed = "COUNT(CASE WHEN run_state = 'failed' THEN 1 END)"
    outer = ", ".join([*names, "COUNT(*)", failed, "COUNT(*) OVER ()", *sums])
    grouping = f"GROUP BY {', '.join(names)} " if names else ""
    order = f"AVG(m0) IS NULL, AVG(m0) {'DESC' if descending else 'ASC'}, " if metrics else ""
    sql = (
        f"SELECT {outer} FROM (SELECT {inner} FROM {view.tables} {condition}) AS q "
        f"{grouping}ORDER BY {order}COUNT(*) DESC, MIN(run_state) LIMIT {most:d}"
    )
    makers = [view.maker(view.columns[own.name].kind) for own in by]
    rest: list[Maker] = [list] * (3 + 3 * len(metrics))
    squares = [value for shift in shifts for value in (shift, shift)]
    found = view.transaction.select(sql, [*makers, *rest], [*squares, *bound])
    return _grouped(by, metrics, shifts, found)


def _shifts(view: ResultsView, metrics: Sequence[Column]) -> list[float]:
    """Return a value of each metric: squares are taken of what it lies away from that.

    Squares of the values themselves would lose the digits in which values differ.
    """
    return [view.some(view.number(own), view.tables) for own in metrics]


def _grouped(
    by: Sequence[Column],
    metrics: Sequence[Column],
    shifts: Sequence[float],
    found: Sequence[Sequence[Any]],
) -> Grouped:
    keys = list(zip(*found[: len(by)], strict=True)) if by else [()] * len(found[0])
    runs, failed, totals, *sums = found[len(by) :]
    moments = {
        own.name: moments_of(shift, *sums[3 * place : 3 * place + 3])
        for place, (own, shift) in enumerate(zip(metrics, shifts, strict=True))
    }
    counts = [np.array(own, dtype=np.int64) for own in (runs, failed)]
    return Grouped(by, keys, counts[0], counts[1], moments, int(totals[0]) if len(totals) else 0)


def _sample(view: ResultsView, columns: Sequence[Column], most: int) -> pd.DataFrame:
    condition, runs = "", view.runs
    if runs > most:
        # In a grid values come in turn, so that equal distances would meet some of them alone.
        # What multiples of the golden section leave is spread evenly, whatever their distance.
        spread = f"((r.position * {GOLDEN}) & {WORDS - 1})"
        condition = f"WHERE {spread} < {WORDS * most // runs} "
    return _frame(view, columns, f"{condition}ORDER BY {views.ORDER}")


def _page(
    view: ResultsView,
    columns: Sequence[Column],
    where: Sequence[Condition],
    ordered: tuple[Column | None, bool],
    place: tuple[int, int],
) -> tuple[pd.DataFrame, int]:
    condition, bound = view.condition(where)
    total = view.runs
    if where:
        sql = f"SELECT COUNT(*) FROM {view.tables} {condition}"
        total = int(view.transaction.rows(sql, bound)[0][0])
    order, (start, most) = views.ORDER, place
    if ordered[0] is not None:
        own = view.sortable(ordered[0])
        order = f"{own} IS NULL, {own} {'DESC' if ordered[1] else 'ASC'}, {order}"
    clause = f"{condition} ORDER BY {order} LIMIT {most:d} OFFSET {start:d}"
    return _frame(view, columns, clause, bound), total


def _frame(
    view: ResultsView, columns: Sequence[Column], clause: str, bound: Sequence[Any] = ()
) -> pd.DataFrame:
    import pandas as pd

    chosen = [view.columns[own.name] for own in columns]
    names = [*(view.select(own) for own in chosen), view.corrupt if view.is_guarded else "0"]
    sql = f"SELECT {', '.join(names)} FROM {view.tables} {clause}"
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
