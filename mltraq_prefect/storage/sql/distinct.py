"""Distinct values of a column that an index leads to: one look-up each, in one statement."""

from __future__ import annotations


def distinct(table: str, column: str) -> str:
    """Return what begins a statement about the values that a column has in an experiment.

    The statement selects them from ``found``, whose column `value` ends with NULL. Its first two
    parameters are the id of the experiment.

    Args:
        table: A table with an index by experiment and `column`.
        column: The column, which is never NULL.
    """
    return _found(table, column, "id_experiment = ?")


def distinct_of_all(table: str, column: str) -> str:
    """Return what begins a statement about the values that a column has in a table.

    It is as that of `distinct`, and has no parameters.
    """
    return _found(table, column, "1 = 1")


def _found(table: str, column: str, condition: str) -> str:
    return (
        "WITH RECURSIVE found (value) AS ("
        f"SELECT min({column}) FROM {table} WHERE {condition} "
        "UNION ALL "
        f"SELECT (SELECT min(t.{column}) FROM {table} AS t "
        f"WHERE {condition} AND t.{column} > found.value) "
        "FROM found WHERE found.value IS NOT NULL) "
    )
