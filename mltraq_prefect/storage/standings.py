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

from mltraq_prefect.storage.ledger_columns import parse_steps
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.columns import Constant

STANDING_INDEX = ("id_experiment", "standing")

INDEX_NAME = "experiment_runs_by_standing"


class Standing(NamedTuple):
    """What runs of one standing have in common.

    Attributes:
        key: Stands for the rest in the ledger.
        state: Their state.
        step: The step to be tried next, or None.
        steps: Names of the steps that they have completed.
    """

    key: str
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
    """Yield the standings of an experiment: each is found by two looks at an index."""
    table = f"experiment_runs{transaction.dialect.by_index(INDEX_NAME)}"
    following = f"SELECT min(standing) FROM {table} WHERE id_experiment = ? AND standing > ?"
    one = f"SELECT state, step, steps FROM {table} WHERE id_experiment = ? AND standing = ? LIMIT 1"
    key: Any = ""
    while True:
        ((key,),) = transaction.rows(following, (id_experiment, key))
        if key is None:
            return
        for state, step, steps in transaction.rows(one, (id_experiment, key)):
            yield Standing(key, state, step, frozenset(parse_steps([steps])[steps]))
