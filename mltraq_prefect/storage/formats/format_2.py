"""From format 1 to format 2.

First all tables change, then all values: where a statement that changes a table commits, what is
killed in between is begun again. So a change of a table looks before it adds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mltraq_prefect.storage.formats.schema import add_columns, add_tables, create_table
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables.ledger_columns import parse_steps
from mltraq_prefect.storage.values.kinds import DATETIME, FLOAT, INT, KEY, TEXT, Kind
from mltraq_prefect.storage.values.names import step_key

Change = Callable[[Transaction], None]

_FAILED_STEP = re.compile(r"step (.+?): ", re.DOTALL)

FACTS: dict[str, Kind] = {
    "state": KEY,
    "fingerprint": TEXT,
    "error": TEXT,
    "error_type": TEXT,
    "attempts": INT,
    "started_at": DATETIME,
    "duration_s": FLOAT,
    "flow_run_id": TEXT,
    "task_run_id": TEXT,
}
RUN_STEPS_2: dict[str, Kind] = {
    "id_experiment": KEY,
    "step_key": KEY,
    "id_run": KEY,
    "step": TEXT,
    **FACTS,
}
"""The table as it was in format 2: what a migration makes never changes."""

_LAST_FACTS = ("attempts", "started_at", "duration_s", "flow_run_id", "task_run_id")


def apply(transaction: Transaction) -> None:
    """Bring the tables from format 1 to format 2."""
    for change in (*TABLE_CHANGES, *VALUE_CHANGES):
        change(transaction)


# -- tables ----------------------------------------------------------------------------------------


def _extend_ledger(transaction: Transaction) -> None:
    add_columns(transaction, "experiment_runs", {"step": TEXT, "error_type": TEXT})


def _add_run_steps(transaction: Transaction) -> None:
    if not transaction.has_table("experiment_run_steps"):
        key = ("id_experiment", "step_key", "id_run")
        create_table(transaction, "experiment_run_steps", RUN_STEPS_2, key)


def _rename_keys(transaction: Transaction) -> None:
    """Rename the primary keys of tables of runs to names that no table has."""
    for (table,) in transaction.rows("SELECT table_name FROM experiments"):
        for statement in transaction.dialect.rekey(transaction.connection, table):
            transaction.run(statement)


# -- values ----------------------------------------------------------------------------------------


def _fill_run_steps(transaction: Transaction) -> None:
    """Make a row of each step that a run has completed, and of the one that it has failed."""
    for (id_experiment,) in transaction.rows("SELECT id_experiment FROM experiments"):
        names = ("id_run", "state", "steps", "error", *_LAST_FACTS)
        runs = transaction.rows(
            f"SELECT {', '.join(names)} FROM experiment_runs WHERE id_experiment = ?",
            (id_experiment,),
        )
        rows = [
            (id_experiment, step_key(step), run[0], step, *facts)
            for run in runs
            for step, facts in _facts(dict(zip(names, run, strict=True)))
        ]
        if rows:
            rows.sort(key=lambda row: row[:3])
            transaction.insert("experiment_run_steps", RUN_STEPS_2, list(zip(*rows, strict=True)))
        _name_failed_steps(transaction, id_experiment, runs)


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the steps of a run, each with the cells of `FACTS`: its last one has the run's."""
    steps = parse_steps([run["steps"]])[run["steps"]]
    failed = failed_step(run["state"], run["error"])
    last = failed or next(reversed(steps), None)
    known = {name: run[name] for name in _LAST_FACTS}
    for step, fingerprint in steps.items():
        if step != failed:
            facts = {"state": "completed", "fingerprint": fingerprint}
            yield step, _cells(facts | known if step == last else facts)
    if failed is not None:
        yield failed, _cells({"state": "failed", "error": run["error"], **known})


def _cells(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(facts.get(name) for name in FACTS)


def _name_failed_steps(
    transaction: Transaction, id_experiment: str, runs: list[tuple[Any, ...]]
) -> None:
    found = [(failed_step(state, error), id_run) for id_run, state, _, error, *_ in runs]
    named = [(step, id_experiment, id_run) for step, id_run in found if step is not None]
    if named:
        keys: dict[str, Kind] = {"id_experiment": KEY, "id_run": KEY}
        transaction.update("experiment_runs", {"step": TEXT}, keys, list(zip(*named, strict=True)))


def failed_step(state: str, error: str | None) -> str | None:
    """Return the step in which a run has failed: format 1 says so only in the error's text."""
    match = _FAILED_STEP.match(error or "") if state == "failed" else None
    return None if match is None else match[1]


TABLE_CHANGES: tuple[Change, ...] = (_extend_ledger, _add_run_steps, add_tables, _rename_keys)
VALUE_CHANGES: tuple[Change, ...] = (_fill_run_steps,)
