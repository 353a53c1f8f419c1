"""Standings: what runs of one state, next step and completed steps have in common.

An experiment has few of them, and an index leads from each to the stretches of its runs. So the
runs on which a step can be tried are found without looking at the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mltraq_prefect.storage import stretches
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.stretches import Stretch

SHORT = 8
"""Runs of a stretch that are looked up one by one."""

SELECTS = 100
"""Stretches that one statement reads."""

POSITIONS = 1_000
"""Runs that one statement looks up by their positions."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What runs of one standing have in common, and where they are.

    Attributes:
        state: Their state.
        step: The step to be tried next, or None.
        steps: Names of the steps that they have completed.
        places: Returns positions of the first and last run of each stretch; a run between may be
            gone.
    """

    state: str
    step: str | None
    steps: frozenset[str]
    places: Callable[[], list[tuple[int, int]]]


def find(transaction: Transaction, id_experiment: str) -> Iterator[Standing]:
    """Yield the standings of an experiment: two looks at an index lead to each.

    Where there are none, because somebody has changed runs by SQL, the ledger is read.
    """
    names = "state, step, steps"
    table = "FROM experiment_standings WHERE id_experiment = ?"
    following = f"SELECT min(standing) {table} AND standing > ?"
    one = f"SELECT {names} {table} AND standing = ? LIMIT 1"
    places = f"SELECT first_position, last_position {table} AND standing = ?"
    key: Any = ""
    while True:
        ((found,),) = transaction.rows(following, (id_experiment, key))
        if found is None:
            break
        ((state, step, steps),) = transaction.rows(one, (id_experiment, key := found))
        where = partial(transaction.rows, places, (id_experiment, key))
        yield Standing(state, step, frozenset(json.loads(steps)), where)
    if not key:
        yield from _of_stretches(stretches.of_ledger(transaction, id_experiment))


def _of_stretches(found: Sequence[Stretch]) -> Iterator[Standing]:
    by_key: dict[str, list[Stretch]] = {}
    for one in found:
        by_key.setdefault(one.standing, []).append(one)
    for own in by_key.values():
        state, step, steps = own[0][3:]
        places = [(one.first, one.last) for one in own]
        yield Standing(state, step, frozenset(json.loads(steps)), places.copy)


def conditions(places: Sequence[tuple[int, int]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield conditions on the column `position` that lead to stretches: no run is in two.

    Runs of short stretches are looked up together, many at once.
    """
    single: list[int] = []
    for first, last in places:
        if last - first < SHORT:
            single.extend(range(first, last + 1))
        else:
            yield "position BETWEEN ? AND ?", (first, last)
    for start in range(0, len(single), POSITIONS):
        chunk = single[start : start + POSITIONS]
        yield f"position IN ({', '.join('?' * len(chunk))})", tuple(chunk)


def rows(
    transaction: Transaction,
    sql: str,
    own: tuple[Any, ...],
    places: Sequence[tuple[int, int]],
    most: int | None = None,
) -> list[tuple[Any, ...]]:
    """Return rows of the runs of stretches.

    Args:
        transaction: Where.
        sql: What is selected, up to the condition on the column `position`.
        own: Its parameters.
        places: The stretches.
        most: How many rows are enough; all if None.
    """
    found: list[tuple[Any, ...]] = []
    batch: list[tuple[str, tuple[Any, ...]]] = []
    limit = "" if most is None else f" LIMIT {most:d}"

    def read() -> None:
        statement = " UNION ALL ".join(f"{sql} {condition}" for condition, _ in batch)
        values = [value for _, more in batch for value in (*own, *more)]
        found.extend(transaction.rows(statement + limit, values))
        batch.clear()

    for condition in conditions(places):
        batch.append(condition)
        if len(batch) == SELECTS or len(condition[1]) > 2:
            read()
            if most is not None and len(found) >= most:
                return found
    if batch:
        read()
    return found


def count_wrong(transaction: Transaction, id_experiment: str) -> int:
    """Return how many runs have another standing than goes with what somebody has changed.

    None has if there are no standings at all: then the ledger is asked.
    """
    number, index = 0, 0
    known = stretches.stored(transaction, id_experiment)
    if not known:
        return 0
    for position, (key, *_) in stretches.runs(transaction, id_experiment):
        while index < len(known) and known[index].last < position:
            index += 1
        is_there = index < len(known) and known[index].first <= position
        number += not (is_there and known[index].standing == key)
    return number


def mend(transaction: Transaction, id_experiment: str) -> bool:
    """Give runs the standings that they should have; return whether some had none or others."""
    is_known = stretches.known(transaction, id_experiment)
    is_wrong = not is_known or count_wrong(transaction, id_experiment) > 0
    if is_wrong:
        stretches.begin(transaction, id_experiment, stretches.of_ledger(transaction, id_experiment))
    return is_wrong
