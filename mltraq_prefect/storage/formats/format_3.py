"""From format 2 to format 3.

As in format 2, all tables change before any value does, and each change looks before it adds.
"""

from __future__ import annotations

from itertools import count

from mltraq_prefect.storage.formats import format_3_views
from mltraq_prefect.storage.formats.format_2 import Change
from mltraq_prefect.storage.formats.schema import (
    LEDGERS,
    STATES,
    TABLES,
    add_columns,
    add_indexes,
    add_tables,
    create_fixed,
)
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.kinds import FLOAT, INT, JSON, TEXT
from mltraq_prefect.storage.values.names import helper_name


def apply(transaction: Transaction) -> None:
    """Bring the tables from format 2 to format 3."""
    for change in (*TABLE_CHANGES, *VALUE_CHANGES):
        change(transaction)


# -- tables ----------------------------------------------------------------------------------------


def _add_places(transaction: Transaction) -> None:
    """Add what indexes lead to runs by, and what an experiment has of states."""
    add_columns(transaction, "experiment_run_steps", {"position": INT})
    add_columns(transaction, "experiments", dict.fromkeys(STATES, INT))
    for table in LEDGERS:
        costs = {"cpu_s": FLOAT, "peak_rss_bytes": INT, "worker": TEXT}
        add_columns(transaction, table, costs)


def _add_series(transaction: Transaction) -> None:
    add_columns(transaction, "experiments", {"series_columns": TEXT})


def _annotate(transaction: Transaction) -> None:
    """Experiments get tags and a note."""
    add_columns(transaction, "experiments", {"tags": JSON, "note": TEXT})


# -- values ----------------------------------------------------------------------------------------


def _number_runs(transaction: Transaction) -> None:
    """Give each run of an experiment a position of its own, where somebody has changed them."""
    sql = (
        "SELECT id_experiment FROM experiment_runs GROUP BY id_experiment "
        "HAVING count(*) <> count(DISTINCT position)"
    )
    for (id_experiment,) in transaction.rows(sql):
        found = transaction.rows(
            "SELECT id_run FROM experiment_runs WHERE id_experiment = ? ORDER BY position, id_run",
            (id_experiment,),
        )
        for position, (id_run,) in zip(count(), found, strict=False):
            transaction.run(
                "UPDATE experiment_runs SET position = ? WHERE id_experiment = ? AND id_run = ?",
                (position, id_experiment, id_run),
            )


def _place_steps(transaction: Transaction) -> None:
    """Give rows of steps the positions of their runs; those without a run go."""
    transaction.run(
        "UPDATE experiment_run_steps SET position = (SELECT position FROM experiment_runs AS r "
        "WHERE r.id_experiment = experiment_run_steps.id_experiment "
        "AND r.id_run = experiment_run_steps.id_run)"
    )
    transaction.run("DELETE FROM experiment_run_steps WHERE position IS NULL")


def _count_states(transaction: Transaction) -> None:
    counted = ", ".join(
        f"{state} = (SELECT count(*) FROM experiment_runs AS r "
        f"WHERE r.id_experiment = experiments.id_experiment AND state = '{state}')"
        for state in STATES
    )
    transaction.run(f"UPDATE experiments SET {counted}")


def _change_keys(transaction: Transaction) -> None:
    """Order the rows of an experiment by position: what is executed together is close together."""
    dialect = transaction.dialect
    for table in LEDGERS:
        if dialect.alters_keys:
            for statement in dialect.change_key(transaction.connection, table, TABLES[table][1]):
                transaction.run(statement)
        else:
            _rebuild(transaction, table)


def _rebuild(transaction: Transaction, table: str) -> None:
    """Make a table anew, with its present key."""
    quote, made = transaction.quote, helper_name()
    columns, key, _ = TABLES[table]
    create_fixed(transaction, table, made)
    there = transaction.columns(table)  # a later format may have added columns since
    kept = [name for name in columns if name in there]
    names, order = (", ".join(map(quote, some)) for some in (kept, key))
    transaction.run(
        f"INSERT INTO {quote(made)} ({names}) SELECT {names} FROM {quote(table)} ORDER BY {order}"
    )
    transaction.run(f"DROP TABLE {quote(table)}")
    for statement in transaction.dialect.rename([(quote(made), quote(table))]):
        transaction.run(statement)


TABLE_CHANGES: tuple[Change, ...] = (
    _add_places,
    _add_series,
    _annotate,
    add_tables,
    *format_3_views.TABLE_CHANGES,
)
VALUE_CHANGES: tuple[Change, ...] = (
    _number_runs,
    _place_steps,
    _count_states,
    _change_keys,
    add_indexes,
    *format_3_views.VALUE_CHANGES,
)
