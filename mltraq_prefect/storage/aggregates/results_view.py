"""The columns of an experiment in a transaction, as results are selected from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mltraq_prefect.reports.study.results import LARGEST, Column, Condition
from mltraq_prefect.storage.aggregates.spread import Spread
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import views
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.views import ViewColumn
from mltraq_prefect.storage.values.cells import for_driver, natural
from mltraq_prefect.storage.values.columns import Maker
from mltraq_prefect.storage.values.kinds import BYTES, FLOAT, JSON, TEXT, Kind

MOST_EXACT = 200_000
"""A database looks at so many runs in about a second."""

STRETCH, MOST_STRETCHES = 20_000, 50
"""Positions of a stretch of runs, and how many of them there are at most."""

MOST_CHARACTERS = 400
"""Longer texts are cut in a page."""


class ResultsView:
    """The columns of an experiment in a transaction.

    Args:
        transaction: The transaction.
        entry: The experiment.
        last: If it has more runs than this, only the last ones are seen.
        is_guarded: Whether there are corrupt params, which are to be read as missing.

    Attributes:
        runs: How many runs are seen.
        is_quick: Whether groups of very many runs are those of some.
        tables: What columns are selected from.
    """

    def __init__(
        self,
        transaction: Transaction,
        entry: Entry,
        last: int | None,
        *,
        is_guarded: bool,
        is_quick: bool = False,
    ) -> None:
        self.transaction, self.entry = transaction, entry
        self.dialect, self.is_guarded = transaction.dialect, is_guarded
        columns = views.columns(entry, self.dialect)
        self.columns = {own.name: self._guarded(own) if is_guarded else own for own in columns}
        # With the id itself, and not that of a row, databases read runs in order by a key.
        self.tables = (
            f"{self.dialect.quote(entry.table)} AS e JOIN experiment_runs AS r "
            f"ON r.id_experiment = {self.literal_id} AND r.id_run = e.id_run"
        )
        self.runs = entry.run_count if last is None else min(last, entry.run_count)
        self.is_quick = is_quick
        self.first = 0
        if self.is_cut:
            self.first = self._first()
            self.tables += f" AND r.position >= {self.first:d}"

    @property
    def is_cut(self) -> bool:
        """Whether some runs are not seen."""
        return self.runs < self.entry.run_count

    @property
    def is_large(self) -> bool:
        """Whether there are more runs than a person waits for, if each of them is looked at."""
        return self.runs > MOST_EXACT

    @property
    def corrupt(self) -> str:
        """The expression that tells whether the params of a run are corrupt."""
        return f"(CASE WHEN {self.dialect.valid_json}(r.params) THEN 0 ELSE 1 END)"

    def _guarded(self, own: ViewColumn) -> ViewColumn:
        valid = f"(CASE WHEN {self.dialect.valid_json}(r.params) THEN r.params END)"
        return replace(own, sql=own.sql.replace("r.params", valid))

    def corrupt_count(self) -> int:
        """Return how many runs have corrupt params, where that is an error of the database."""
        if not self.dialect.valid_json:
            return 0
        rows = self.transaction.rows(
            f"SELECT SUM({self.corrupt}) FROM experiment_runs AS r WHERE id_experiment = ?",
            (self.entry.id_experiment,),
        )
        return int(rows[0][0] or 0)

    def spread(self, most: int) -> str:
        """Return what columns of about so many runs are selected from; of all if they are fewer."""
        if self.runs <= most:
            return self.tables
        first, last = self._extent()
        if last is None:
            return self.tables
        chosen = Spread.over(first, last, self.runs, most)
        # SQLite looks at tables in the order of cross joins: others begin with those runs, too.
        return (
            f"{chosen.table('n')} CROSS JOIN experiment_runs AS r "
            f"CROSS JOIN {self.dialect.quote(self.entry.table)} AS e "
            f"JOIN experiments AS x ON x.id_experiment = {self.literal_id} "
            f"AND r.id_experiment = {self.literal_id} AND r.position = {chosen.number('n')} "
            "AND e.id_run = r.id_run"
        )

    def stretches(self) -> list[str]:
        """Return what columns of all runs are selected from, in stretches if they are very many.

        A database that sorts what it groups sorts each of them in fast memory.
        """
        is_divided = self.is_large and self.dialect.sorts_groups
        first, last = self._extent() if is_divided else (0, None)
        if last is None:
            return [self.tables]
        width = max(STRETCH, -(-(last - first + 1) // MOST_STRETCHES))
        return [
            f"experiment_runs AS r CROSS JOIN {self.dialect.quote(self.entry.table)} AS e "
            f"WHERE r.id_experiment = {self.literal_id} AND e.id_run = r.id_run "
            f"AND r.position BETWEEN {start:d} AND {start + width - 1:d}"
            for start in range(first, last + 1, width)
        ]

    def _extent(self) -> tuple[int, int | None]:
        """Return the first and last position of the runs that are seen; no last one without any."""
        own = f"FROM experiment_runs WHERE id_experiment = {self.literal_id}"
        first, last = self.transaction.rows(
            f"SELECT (SELECT MIN(position) {own}), (SELECT MAX(position) {own})"
        )[0]
        return max(first or 0, self.first), last

    @property
    def literal_id(self) -> str:
        """The id of the experiment, as a statement has it."""
        return self.dialect.literal(self.entry.id_experiment)

    def _first(self) -> int:
        rows = self.transaction.rows(
            "SELECT position FROM experiment_runs WHERE id_experiment = ? "
            f"ORDER BY position DESC LIMIT 1 OFFSET {self.runs - 1:d}",
            (self.entry.id_experiment,),
        )
        return int(rows[0][0]) if rows else 0

    def chosen(
        self, where: Sequence[Condition], order: Sequence[Column] | None
    ) -> tuple[str, list[Any]]:
        """Return what follows FROM if nothing but some runs is asked for, and what is bound in it.

        A table that neither conditions nor the order need is left out: where all runs are looked
        at, the other one is most of the work.

        Args:
            where: Conditions that the runs meet.
            order: The columns that they are ordered by before their position; None if they are
                in no order.
        """
        used = {self.columns[own.column.name].source for own in where}
        used |= {self.columns[own.name].source for own in order or ()}
        in_ledger = order is not None or self.is_cut or bool(used & {"param", "ledger"})
        parts, bound = self._conditions(where)
        tables = self.tables
        if not used & {"run", "field"} and in_ledger:
            tables = "experiment_runs AS r"
            own = [f"r.id_experiment = {self.literal_id}", f"r.position >= {self.first:d}"]
            parts = [*own, *parts]
        elif not in_ledger:
            tables = f"{self.dialect.quote(self.entry.table)} AS e"
        return f"{tables} WHERE {' AND '.join(parts)}" if parts else tables, bound

    def _conditions(self, where: Sequence[Condition]) -> tuple[list[str], list[Any]]:
        parts, bound = [], []
        for column, operator, value in where:
            own = self.columns[column.name]
            if value is None:
                parts.append(f"{own.sql} IS {'' if operator == '=' else 'NOT '}NULL")
                continue
            parts.append(f"{own.sql} {operator} ?")
            bound += for_driver(self.dialect, own.kind, [value])
        return parts, bound

    def logged(self) -> dict[str, tuple[str, Kind]]:
        """Return the names and kinds of the columns of numbers in the table of series, by key."""
        return {
            key: (own.name, own.kind)
            for key, own in (self.entry.series or {}).items()
            if own.name is not None and own.kind.is_numeric
        }

    def number(self, column: Column) -> str:
        """Return the expression of a column as a float that has a square, or NULL."""
        own = self.columns[column.name]
        return self.bounded(own.sql, own.kind)

    def bounded(self, sql: str, kind: Kind) -> str:
        """Return an expression as a float that has a square, or NULL."""
        number = self.dialect.as_float(sql, kind)
        return f"CASE WHEN ABS({number}) < {LARGEST} THEN {number} END"

    def sortable(self, column: Column) -> str:
        """Return the expression of a column to sort by, in which NaN counts as missing."""
        own = self.columns[column.name]
        if own.kind is FLOAT and self.dialect.nan:
            nan = self.dialect.as_float("'NaN'", FLOAT)
            return f"NULLIF({own.sql}, {nan})"
        return own.sql

    def maker(self, kind: Kind) -> Maker:
        """Return what makes natural cells of those that the driver gives."""
        return partial(natural, self.dialect, kind)

    def select(self, own: ViewColumn) -> str:
        """Return the expression of a column as a page needs it: long texts are cut."""
        if own.kind.is_envelope or own.kind is BYTES:
            return "NULL"
        if own.kind in (TEXT, JSON):
            return self.dialect.shortened(own.sql, MOST_CHARACTERS)
        return own.sql

    def makers(self, chosen: Sequence[ViewColumn]) -> list[Maker]:
        """Return what makes natural cells of what `select` selects."""
        shortened = (BYTES, TEXT, JSON)
        kept = [own.kind not in shortened and not own.kind.is_envelope for own in chosen]
        return [
            self.maker(own.kind) if keep else list for own, keep in zip(chosen, kept, strict=True)
        ]
