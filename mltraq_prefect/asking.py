"""What a session answers: runs of an experiment as a frame, and SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.arguments import names_of
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.frames import experiment_frame, query_frame
from mltraq_prefect.storage.reading.selections import selection

if TYPE_CHECKING:
    import pandas as pd


class Asking:
    """The part of a `Session` that reads frames."""

    _store: Store

    def frame(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Mapping[str, Any] | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return runs of an experiment as a frame: params, fields, and what became of each.

        The columns are those of the view ``v_<name>``, and the values those that `load` gives.

        Args:
            name: Name of the experiment.
            columns: Columns of the view, by their name or by the key of a param or field. None
                takes those of scalars; arrays, frames, trees and bytes come if they are named.
            where: A condition in SQL over the columns of the view; ``:x`` stands for the param `x`.
            params: Values of the params, by name.
            order_by: A column, or several, as a list or with commas; ``-accuracy`` or
                ``accuracy DESC`` is from the largest. What is missing comes last. None is the
                order of the experiment.
            limit: How many runs at most; None is no limit.

        Returns:
            A frame with one row a run. Dtypes are those of `Runs.df`.

        Raises:
            ExperimentNotFound: The database has no experiment of this name.
            FieldNotFound: There is no column of a name that `columns`, `where` or `order_by` has.
            InvalidInput: An argument cannot be used; or `where` has a comment, a semicolon, or
                quotes or parentheses that do not match.
            QueryFailed: The database does not understand `where`, or a param is missing.
            CorruptData: Something in the tables is not what was written.
            StorageUnavailable: The database cannot be reached.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2, 3]).persist()
            >>> session.frame("squares", ["x", "state"], "x > :x", {"x": 1}, order_by="-x")
               x    state
            0  3  pending
            1  2  pending
        """
        chosen = selection(where, params, order_by, limit)
        return experiment_frame(self._store, name, names_of("columns", columns), chosen)

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, *, decode: bool = False
    ) -> pd.DataFrame:
        """Return the rows of an SQL statement.

        Args:
            sql: One statement that only reads; ``:x`` stands for the param `x`. A list, tuple, set
                or array is expanded after ``IN``.
            params: Values of the params, by name.
            decode: Whether columns of experiments that are binary or JSON are decoded: arrays,
                frames and trees instead of bytes and text.

        Returns:
            A frame with the columns and rows of the result; dtypes are those of `Runs.df`. A column
            that is one of an experiment's has its truth values, dates, times and UUIDs, where the
            database gives numbers or text; docs/queries.md says which columns that are.

        Raises:
            QueryFailed: The statement is refused: it does not read, the database does not
                understand it, or a param is missing or of a type that SQL does not have.
            CorruptData: With `decode`, a binary value is not what was written.
            StorageUnavailable: The database cannot be reached.

        Examples:
            >>> session = create_session("sqlite://")
            >>> _ = session.add_experiment("squares").add_runs(x=[1, 2, 3]).persist()
            >>> sql = "SELECT count(*) AS n FROM e_squares WHERE id_run <> :id_run"
            >>> session.query(sql, {"id_run": "none"})["n"].tolist()
            [3]
        """
        return query_frame(self._store, sql, params, {}, decode=decode)
