"""The columns of an experiment in a transaction, as results are selected from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mltraq_prefect.reports.study.results import LARGEST, Column, Condition
from mltraq_prefect.storage import views
from mltraq_prefect.storage.experiments_table import Entry
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.cells import for_driver, natural
from mltraq_prefect.storage.values.columns import Maker
from mltraq_prefect.storage.values.kinds import BYTES, FLOAT, JSON, TEXT, Kind
from mltraq_prefect.storage.views import ViewColumn

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
        tables: What columns are selected from.
    """

    def __init__(
        self, transaction: Transaction, entry: Entry, last: int | None, *, is_guarded: bool
    ) -> None:
        self.transaction, self.entry = transaction, entry
        self.dialect, self.is_guarded = transaction.dialect, is_guarded
        columns = views.columns(entry, self.dialect)
        self.columns = {own.name: self._guarded(own) if is_guarded else own for own in columns}
        self.tables = views.tables_of(entry.name, entry.table, self.dialect)
        self.runs = entry.run_count if last is None else min(last, entry.run_count)
        self.first = 0
        if self.is_cut:
            self.first = self._first()
            self.tables += f" AND r.position >= {self.first:d}"

    @property
    def is_cut(self) -> bool:
        """Whether some runs are not seen."""
        return self.runs < self.entry.run_count

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

    def _first(self) -> int:
        rows = self.transaction.rows(
            "SELECT position FROM experiment_runs WHERE id_experiment = ? "
            f"ORDER BY position DESC LIMIT 1 OFFSET {self.runs - 1:d}",
            (self.entry.id_experiment,),
        )
        return int(rows[0][0]) if rows else 0

    def condition(self, where: Sequence[Condition]) -> tuple[str, list[Any]]:
        """Return conditions as a clause, and what is bound in it."""
        parts, bound = [], []
        for column, operator, value in where:
            own = self.columns[column.name]
            if value is None:
                parts.append(f"{own.sql} IS {'' if operator == '=' else 'NOT '}NULL")
                continue
            parts.append(f"{own.sql} {operator} ?")
            bound += for_driver(self.dialect, own.kind, [value])
        return (f"WHERE {' AND '.join(parts)}" if parts else ""), bound

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

    def some(self, number: str, tables: str) -> float:
        """Return a value of an expression; 0 if there is none."""
        sql = f"SELECT {number} FROM {tables} WHERE {number} IS NOT NULL LIMIT 1"
        rows = self.transaction.rows(sql)
        return float(rows[0][0]) if rows else 0.0

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
