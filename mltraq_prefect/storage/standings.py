"""Standings: a key for what runs of one state, next step and completed steps have in common.

An experiment has few of them, and an index leads from each to its runs. So the runs on which a step
can be tried are found without looking at the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from xxhash import xxh3_64_hexdigest

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage.ledger_columns import parse_steps
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import INT, KEY, Kind

STANDING_INDEX = ("id_experiment", "standing")

INDEX_NAME = "experiment_runs_by_standing"


class Standing(NamedTuple):
    """What runs of one standing have in common.

    Attributes:
        where: A condition that they meet in the ledger ``r`` of an experiment.
        values: Its parameters.
        state: Their state.
        step: The step to be tried next, or None.
        steps: Names of the steps that they have completed.
    """

    where: str
    values: tuple[Any, ...]
    state: str
    step: str | None
    steps: frozenset[str]


def columns_of(
    states: Sequence[str], steps: Sequence[str], step: Sequence[str | None]
) -> Sequence[str]:
    """Return the keys of runs from natural cells of the ledger's columns of these names."""
    columns = (states, steps, step)
    if all(isinstance(cells, Constant) for cells in columns):
        return Constant(key_of(states[0], steps[0], step[0]), len(states))
    return list(map(key_of, *columns))


@lru_cache(10_000)
def key_of(state: str, steps: str, step: str | None) -> str:
    """Return the key of a run.

    Args:
        state: Its state.
        steps: Its completed steps, as JSON.
        step: The step to be tried next, or None.
    """
    return xxh3_64_hexdigest(json.dumps([state, step, sorted(json.loads(steps))]).encode())


def find(transaction: Transaction, id_experiment: str) -> Iterator[Standing]:
    """Yield the standings of an experiment: each is found by two looks at an index.

    Those of runs without a key, of which somebody has changed what it stands for, come last.
    """
    table = f"experiment_runs{transaction.dialect.by_index(INDEX_NAME)}"
    following = f"SELECT min(standing) FROM {table} WHERE id_experiment = ? AND standing > ?"
    one = f"SELECT state, step, steps FROM {table} WHERE id_experiment = ? AND standing = ? LIMIT 1"
    key: Any = ""
    while True:
        ((key,),) = transaction.rows(following, (id_experiment, key))
        if key is None:
            break
        for own in transaction.rows(one, (id_experiment, key)):
            yield _standing("r.standing = ?", (key,), *own)
    keyless = (
        f"SELECT DISTINCT state, step, steps FROM {table} WHERE id_experiment = ? "
        "AND standing IS NULL"
    )
    for own in transaction.rows(keyless, (id_experiment,)):
        where, values = _same(*own)
        yield _standing(f"r.standing IS NULL AND {where}", values, *own)


def _standing(
    where: str, values: tuple[Any, ...], state: str, step: str | None, steps: str
) -> Standing:
    return Standing(where, values, state, step, frozenset(parse_steps([steps])[steps]))


def _same(state: str, step: str | None, steps: str) -> tuple[str, tuple[Any, ...]]:
    """Return what tells runs whose ledger ``r`` has these cells, and its parameters."""
    where, values = "r.state = ? AND r.steps = ?", (state, steps)
    if step is None:
        return f"{where} AND r.step IS NULL", values
    return f"{where} AND r.step = ?", (*values, step)


def count_wrong(transaction: Transaction, id_experiment: str) -> int:
    """Return how many runs have another key than goes with what somebody has changed of them."""
    return sum(number for *_, number in _wrong(transaction, id_experiment))


def mend(transaction: Transaction, id_experiment: str) -> bool:
    """Give runs the keys that they should have; return whether some had others."""
    keys: dict[str, Kind] = {"id_experiment": KEY, "id_run": KEY, "position": INT}
    wrong = list(_wrong(transaction, id_experiment))
    for key, known, own, _ in wrong:
        where, values = _same(*own)
        has = "r.standing IS NULL" if known is None else "r.standing = ?"
        sql = (
            "SELECT r.id_run, r.position FROM experiment_runs AS r "
            f"WHERE r.id_experiment = ? AND {has} AND {where}"
        )
        had = () if known is None else (known,)
        found = transaction.rows(sql, (id_experiment, *had, *values))
        if found:
            columns = [Constant(cell, len(found)) for cell in (key, id_experiment)]
            cells = [*columns, *zip(*found, strict=True)]
            transaction.update("experiment_runs", {"standing": KEY}, keys, cells)
    return bool(wrong)


def _wrong(
    transaction: Transaction, id_experiment: str
) -> Iterator[tuple[str, str | None, tuple[str, str | None, str], int]]:
    """Yield the key that runs should have, the one that they have, what it is of, their number."""
    sql = (
        "SELECT standing, state, step, steps, count(*) FROM experiment_runs "
        "WHERE id_experiment = ? GROUP BY standing, state, step, steps"
    )
    for known, state, step, steps, number in transaction.rows(sql, (id_experiment,)):
        try:
            parse_steps([steps])
        except CorruptData:  # reading the run tells of that
            continue
        key = key_of(state, steps, step)
        if key != known:
            yield key, known, (state, step, steps), int(number)
