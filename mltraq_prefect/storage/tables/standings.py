"""Standings: what runs of one state, next step and completed steps have in common.

An experiment has few of them, and an index leads from each to the stretches of its runs. So the
runs on which a step can be tried are found without looking at the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.distinct import distinct
from mltraq_prefect.storage.tables import stretches
from mltraq_prefect.storage.tables.stretches import Stretch

SHORT = 8
"""Runs of a stretch that are looked up one by one."""

FEW = 32
"""Stretches of an experiment that are read at once, whatever their standings."""

SELECTS = 100
"""Stretches that one statement reads."""

POSITIONS = 1_000
"""Runs that one statement looks up by their positions."""


Places = list[tuple[int, int]]
"""Positions of the first and last run of stretches."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What runs of one standing have in common.

    Attributes:
        key: What stands for it.
        state: Their state.
        step: The step to be tried next, or None.
        steps: Names of the steps that they have completed.
        places: Positions of the first and last run of each stretch, if they are known already; a
            run between may be gone.
    """

    key: str
    state: str
    step: str | None
    steps: frozenset[str]
    places: Places | None = None


def find(transaction: Transaction, id_experiment: str) -> list[Standing]:
    """Return the standings of an experiment: looks at an index lead to each.

    Where there are none, because somebody has changed runs by SQL, the ledger is read.

    Args:
        transaction: Where.
        id_experiment: The experiment.
    """
    found = stretches.first_of(transaction, id_experiment, FEW + 1)
    if len(found) <= FEW:
        found = found or stretches.of_ledger(transaction, id_experiment)
        return sorted(_of_stretches(found), key=attrgetter("key"))
    table = "experiment_standings"
    first = (
        f"SELECT min(u.first_position) FROM {table} AS u "
        "WHERE u.id_experiment = ? AND u.standing = found.value"
    )
    sql = (
        f"{distinct(table, 'standing')}SELECT found.value, t.state, t.step, t.steps "
        f"FROM found JOIN {table} AS t ON t.id_experiment = ? AND t.first_position = ({first})"
    )
    rows = transaction.rows(sql, (id_experiment,) * 4)
    return [
        Standing(key, state, step, _names(steps))
        for key, state, step, steps in sorted(rows, key=itemgetter(0))
    ]


def places(transaction: Transaction, id_experiment: str, known: Sequence[Standing]) -> Places:
    """Return positions of the first and last run of each stretch of standings, in order.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        known: The standings, as `find` has returned them.
    """
    found = [place for one in known for place in one.places or ()]
    keys = [one.key for one in known if one.places is None]
    if keys:
        found += transaction.rows(
            "SELECT first_position, last_position FROM experiment_standings "
            f"WHERE id_experiment = ? AND standing IN ({', '.join('?' * len(keys))})",
            (id_experiment, *keys),
        )
    return sorted(found)


@lru_cache(100)
def _names(steps: str) -> frozenset[str]:
    return frozenset(json.loads(steps))


def _of_stretches(found: Sequence[Stretch]) -> Iterator[Standing]:
    by_key: dict[str, list[Stretch]] = {}
    for one in found:
        by_key.setdefault(one.standing, []).append(one)
    for key, own in by_key.items():
        state, step, steps = own[0][3:]
        yield Standing(key, state, step, _names(steps), [(one.first, one.last) for one in own])


def conditions(
    places: Sequence[tuple[int, int]], column: str = "position"
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield conditions on a column of positions that lead to stretches: no run is in two.

    Runs of short stretches are looked up together, many at once.
    """
    single: list[int] = []
    for first, last in places:
        if last - first < SHORT:
            single.extend(range(first, last + 1))
        else:
            yield f"{column} BETWEEN ? AND ?", (first, last)
    for start in range(0, len(single), POSITIONS):
        chunk = single[start : start + POSITIONS]
        yield f"{column} IN ({', '.join('?' * len(chunk))})", tuple(chunk)


def statements(
    sql: str, own: tuple[Any, ...], places: Sequence[tuple[int, int]], column: str = "position"
) -> Iterator[tuple[str, list[Any]]]:
    """Yield statements that select the runs of stretches, and their parameters.

    Args:
        sql: What is selected, up to the condition on the column of positions.
        own: Its parameters.
        places: The stretches.
        column: The column.
    """
    batch: list[tuple[str, tuple[Any, ...]]] = []

    def together() -> tuple[str, list[Any]]:
        values = [value for _, more in batch for value in (*own, *more)]
        return " UNION ALL ".join(f"{sql} {condition}" for condition, _ in batch), values

    for condition in conditions(places, column):
        batch.append(condition)
        if len(batch) == SELECTS or len(condition[1]) > 2:
            yield together()
            batch = []
    if batch:
        yield together()


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
    limit = "" if most is None else f" LIMIT {most:d}"
    for statement, values in statements(sql, own, places):
        found += transaction.rows(statement + limit, values)
        if most is not None and len(found) >= most:
            break
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
