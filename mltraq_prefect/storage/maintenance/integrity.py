"""What does not belong together in the tables, after somebody has changed them by SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.formats.schema import OF_EXPERIMENTS, OF_RUNS
from mltraq_prefect.storage.maintenance import deleting
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import executions, standings
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.texts import counted


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        problem: What it is, and what to do.
        run: Id of a run that it concerns; empty if it is none.
        is_count: Whether only counts or standings are wrong, which can be made anew.
    """

    problem: str
    run: str = ""
    is_count: bool = False


def within(transaction: Transaction, entry: Entry) -> list[Finding]:
    """Return what is wrong about an experiment, except for values."""
    if not transaction.has_table(entry.table):
        return [Finding(f"its table {entry.table} is gone; delete the experiment")]
    return [
        *_rows(transaction, entry),
        *_orphans(transaction, entry),
        *_contents(transaction, entry),
        *_counts(transaction, entry),
        *_standings(transaction, entry),
        *_executions(transaction, entry),
    ]


def beside(transaction: Transaction) -> list[Finding]:
    """Return which tables have rows of experiments that are not there."""
    found = []
    for table in OF_EXPERIMENTS:
        if table == "experiments":
            continue
        gone = "id_experiment NOT IN (SELECT id_experiment FROM experiments)"
        rows = transaction.rows(f"SELECT count(*) FROM {table} WHERE {gone}")
        if rows[0][0]:
            number = counted(rows[0][0], f"row of {table} is", f"rows of {table} are")
            statement = f"DELETE FROM {table} WHERE {gone}"
            found.append(Finding(f"{number} of no experiment; to delete that, execute {statement}"))
    return found


def listed(
    transaction: Transaction, entry: Entry, after: int, most: int
) -> list[tuple[int, str, bool]]:
    """Return position and id of the runs after a position, and whether they have a row."""
    sql = (
        "SELECT r.position, r.id_run, e.id_run FROM experiment_runs AS r "
        f"LEFT JOIN {transaction.quote(entry.table)} AS e ON e.id_run = r.id_run "
        f"WHERE r.id_experiment = ? AND r.position > ? ORDER BY r.position LIMIT {most:d}"
    )
    rows = transaction.rows(sql, (entry.id_experiment, after))
    return [(place, id_run, own is not None) for place, id_run, own in rows]


_LISTED = "SELECT id_run FROM experiment_runs WHERE id_experiment = ?"


def _rows(transaction: Transaction, entry: Entry) -> Iterator[Finding]:
    quote, of_experiment = transaction.quote, f"id_experiment = '{entry.id_experiment}'"
    tables = [entry.table, *([entry.series_table] if entry.series is not None else [])]
    for table in tables:
        sql = f"SELECT id_run FROM {quote(table)} EXCEPT {_LISTED}"
        number, first = _number(transaction, sql, (entry.id_experiment,))
        if number:
            yield Finding(
                f"{counted(number, 'run is', 'runs are')} in {table} and not in experiment_runs; "
                f"to delete them there, execute DELETE FROM {table} WHERE id_run NOT IN "
                f"(SELECT id_run FROM experiment_runs WHERE {of_experiment})",
                first,
            )
    sql = f"{_LISTED} EXCEPT SELECT id_run FROM {quote(entry.table)}"
    number, first = _number(transaction, sql, (entry.id_experiment,))
    if number:
        gone = f"{of_experiment} AND id_run NOT IN (SELECT id_run FROM {entry.table})"
        statements = [f"DELETE FROM {table} WHERE {gone} AND id_run <> ''" for table in OF_RUNS]
        if entry.series is not None:
            left = f"id_run NOT IN (SELECT id_run FROM {entry.table})"
            statements.append(f"DELETE FROM {entry.series_table} WHERE {left}")
        yield Finding(
            f"{counted(number, 'run is', 'runs are')} in experiment_runs and not in {entry.table}, "
            "where somebody has deleted their rows; to delete them, execute "
            f"{'; '.join(statements)}; then verify with repair",
            first,
        )


def _orphans(transaction: Transaction, entry: Entry) -> Iterator[Finding]:
    """Yield which tables have rows of runs that are not in the ledger."""
    for table in OF_RUNS:
        if table == "experiment_runs":
            continue
        sql = (
            f"SELECT id_run FROM {table} WHERE id_experiment = ? AND id_run <> '' EXCEPT {_LISTED}"
        )
        number, first = _number(transaction, sql, (entry.id_experiment,) * 2)
        if number:
            of_experiment = f"id_experiment = '{entry.id_experiment}'"
            yield Finding(
                f"{table} has rows of {counted(number, 'run')} not in experiment_runs; to delete "
                f"them, execute DELETE FROM {table} WHERE {of_experiment} AND id_run <> '' AND "
                f"id_run NOT IN (SELECT id_run FROM experiment_runs WHERE {of_experiment})",
                first,
            )


def _contents(transaction: Transaction, entry: Entry) -> Iterator[Finding]:
    """Yield whether there are contents that no file has."""
    kept = "SELECT sha256 FROM experiment_files WHERE id_experiment = ? AND place IS NULL"
    ((number,),) = transaction.rows(
        "SELECT count(DISTINCT sha256) FROM experiment_file_pieces WHERE id_experiment = ? "
        f"AND sha256 NOT IN ({kept})",
        (entry.id_experiment,) * 2,
    )
    if number:
        of_experiment = f"id_experiment = '{entry.id_experiment}'"
        yield Finding(
            f"experiment_file_pieces has {counted(number, 'content')} that no file has; to delete "
            f"them, execute DELETE FROM experiment_file_pieces WHERE {of_experiment} AND sha256 "
            f"NOT IN (SELECT sha256 FROM experiment_files WHERE {of_experiment} AND place IS NULL)"
        )


def _counts(transaction: Transaction, entry: Entry) -> Iterator[Finding]:
    runs, states = deleting.counted(transaction, entry)
    if (runs, states) != (entry.run_count, dict(entry.states)):
        yield Finding(
            f"its row in experiments counts {counted(entry.run_count, 'run')} "
            f"({_told(entry.states)}), and experiment_runs has {runs:,} ({_told(states)}); "
            "repair counts them again",
            is_count=True,
        )


def _standings(transaction: Transaction, entry: Entry) -> Iterator[Finding]:
    number = standings.count_wrong(transaction, entry.id_experiment)
    if number:
        yield Finding(
            f"the standing of {counted(number, 'run')} in experiment_standings does not go with "
            "state, step and steps, which somebody has changed: pending=... may miss them, or find "
            "others; repair computes it again",
            is_count=True,
        )


_TO_ONE, _TO_SEVERAL = (
    "step of a run refers to an execution that is",
    "steps of runs refer to executions that are",
)


def _executions(transaction: Transaction, entry: Entry) -> Iterator[Finding]:
    """Yield what is wrong about executions; kwargs are read as well."""
    known = "SELECT id_execution FROM experiment_executions WHERE id_experiment = ?"
    sql = (
        "SELECT id_run FROM experiment_run_steps WHERE id_experiment = ? AND id_execution "
        f"IS NOT NULL AND id_execution NOT IN ({known})"
    )
    number, first = _number(transaction, sql, (entry.id_experiment,) * 2)
    if number:
        yield Finding(
            f"{counted(number, _TO_ONE, _TO_SEVERAL)} not there: experiment_executions has lost "
            "rows, and nothing tells any more where the results come from",
            first,
        )
    try:
        for facts in executions.read(transaction, entry.id_experiment):
            for data in executions.completed(
                transaction, entry.id_experiment, facts
            ).exact.values():
                decode(data)
    except CorruptData as error:
        yield Finding(error.reason)


def _told(states: Any) -> str:
    return ", ".join(f"{number:,} {state}" for state, number in states.items() if number) or "none"


def _number(transaction: Transaction, sql: str, parameters: Sequence[Any]) -> tuple[int, str]:
    """Return how many ids a query finds, and one of them."""
    sql = f"SELECT count(*), min(id_run) FROM ({sql}) AS found"
    ((number, first),) = transaction.rows(sql, parameters)
    return int(number), first or ""
