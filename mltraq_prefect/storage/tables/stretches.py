"""Stretches: runs of one standing that follow each other, in rows of `experiment_standings`.

Runs that are executed together are next to each other, so an experiment has few stretches: a run
that completes a step changes the ends of one, and no index of the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from xxhash import xxh3_64_hexdigest

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.columns import Constant
from mltraq_prefect.storage.values.kinds import INT, KEY, TEXT, Kind

STANDINGS: dict[str, Kind] = {
    "id_experiment": KEY,
    "first_position": INT,
    "last_position": INT,
    "standing": KEY,
    "state": KEY,
    "step": TEXT,
    "steps": TEXT,
}
"""`standing` is a key for what follows it; `steps` are names of completed steps, as JSON."""

_NAMES = ", ".join([*STANDINGS][1:])

STANDINGS_KEY = ("id_experiment", "first_position")

STANDING_INDEX = ("id_experiment", "standing", "first_position")

INDEX_NAME = "experiment_standings_by_standing"

NEAR = 1_000
"""Positions between stretches that are changed together."""

MOST_SPANS = 32
"""Statements read what is there for so many groups of stretches at most."""

CHUNK = 500
"""Stretches that one statement deletes, and rows of the ledger that are read at once times ten."""


class Stretch(NamedTuple):
    """Runs of one standing whose positions follow each other.

    Attributes:
        first: Position of the first.
        last: Position of the last; a run between them may be gone.
        standing: Key of their standing; empty if they are gone.
        state: Their state.
        step: The step to be tried next, or None.
        steps: Names of the steps that they have completed, as JSON.
    """

    first: int
    last: int
    standing: str
    state: str = ""
    step: str | None = None
    steps: str = "[]"


@lru_cache(10_000)
def standing_of(state: str, steps: str, step: str | None) -> tuple[str, str, str | None, str]:
    """Return the cells of a run's standing: its key, and what that stands for.

    Args:
        state: Its state.
        steps: Its completed steps, as JSON.
        step: The step to be tried next, or None.

    Raises:
        ValueError: The steps are no JSON.
        TypeError: They are something else than steps.
    """
    names = sorted(json.loads(steps))
    key = xxh3_64_hexdigest(json.dumps([state, step, names]).encode())
    return key, state, step, json.dumps(names, ensure_ascii=False)


def made_of(
    positions: Sequence[int],
    states: Sequence[str],
    steps: Sequence[str],
    step: Sequence[str | None],
) -> list[Stretch]:
    """Return the stretches of runs, given by their positions and natural cells of the ledger."""
    if not positions:
        return []
    is_one = all(isinstance(cells, Constant) for cells in (states, steps, step))
    if is_one and isinstance(positions, range):
        return [Stretch(positions[0], positions[-1], *standing_of(states[0], steps[0], step[0]))]
    cells = map(standing_of, states, steps, step)
    pairs = sorted(zip(positions, cells, strict=True), key=lambda pair: pair[0])
    return list(_joined(Stretch(place, place, *own) for place, own in pairs))


def moved(stretches: Iterable[Stretch], by: int) -> list[Stretch]:
    """Return stretches at positions that are larger by a number."""
    return [one._replace(first=one.first + by, last=one.last + by) for one in stretches]


def _joined(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Yield stretches, those that continue each other as one."""
    before: Stretch | None = None
    for one in stretches:
        if before is None:
            before = one
        elif before.standing == one.standing and before.last + 1 == one.first:
            before = before._replace(last=one.last)
        else:
            yield before
            before = one
    if before is not None:
        yield before


def _laid(old: Sequence[Stretch], new: Sequence[Stretch]) -> list[Stretch]:
    """Return stretches with others laid over them; both are in order."""
    left, index = [], 0
    for one in old:
        start = one.first
        while index < len(new) and new[index].last < start:
            index += 1
        for over in new[index:]:
            if over.first > one.last:
                break
            if over.first > start:
                left.append(one._replace(first=start, last=over.first - 1))
            start = over.last + 1
        if start <= one.last:
            left.append(one._replace(first=start))
    there = (one for one in new if one.standing)
    return list(_joined(sorted([*left, *there], key=lambda one: one.first)))


# -- in the database -------------------------------------------------------------------------------


def put(transaction: Transaction, id_experiment: str, new: Sequence[Stretch]) -> None:
    """Note the standings of runs that are in the ledger now.

    Where an experiment has none at all, somebody has changed its runs by SQL: all are made anew.

    Args:
        transaction: Where; it holds the lock of the experiment.
        id_experiment: The experiment.
        new: Their stretches, in order.
    """
    for span in _spans(new):
        low, high = span[0].first - 1, span[-1].last + 1
        old = _stored(transaction, id_experiment, low, high)
        if not old and not known(transaction, id_experiment):
            _insert(transaction, id_experiment, of_ledger(transaction, id_experiment))
            return
        _replace(transaction, id_experiment, old, _laid(old, span))


def drop(transaction: Transaction, id_experiment: str, positions: Sequence[int]) -> None:
    """Forget runs that are deleted, given by their positions, in order."""
    gone = list(_joined(Stretch(place, place, "") for place in positions))
    for span in _spans(gone):
        old = _stored(transaction, id_experiment, span[0].first, span[-1].last)
        _replace(transaction, id_experiment, old, _laid(old, span))


def known(transaction: Transaction, id_experiment: str) -> bool:
    """Return whether an experiment has stretches."""
    sql = "SELECT 1 FROM experiment_standings WHERE id_experiment = ? LIMIT 1"
    return bool(transaction.rows(sql, (id_experiment,)))


def begin(transaction: Transaction, id_experiment: str, new: Sequence[Stretch]) -> None:
    """Note the standings of all runs of an experiment, whatever was noted before."""
    transaction.run("DELETE FROM experiment_standings WHERE id_experiment = ?", (id_experiment,))
    _insert(transaction, id_experiment, new)


def of_ledger(transaction: Transaction, id_experiment: str) -> list[Stretch]:
    """Return the stretches of an experiment as its ledger has them: as long as can be."""
    found: list[Stretch] = []
    for place, own in runs(transaction, id_experiment):
        if found and found[-1].standing == own[0]:
            found[-1] = found[-1]._replace(last=place)  # there is no run between
        else:
            found.append(Stretch(place, place, *own))
    return found


def runs(
    transaction: Transaction, id_experiment: str
) -> Iterator[tuple[int, tuple[str, str, str | None, str]]]:
    """Yield position and standing of each run, in order; reading one that is corrupt tells of it.

    All rows of the ledger are read, some at a time.
    """
    sql = (
        "SELECT position, state, steps, step FROM experiment_runs "
        f"WHERE id_experiment = ? AND position > ? ORDER BY position LIMIT {10 * CHUNK}"
    )
    last = -1
    while rows := transaction.rows(sql, (id_experiment, last)):
        for position, *own in rows:
            try:
                yield int(position), standing_of(*own)
            except (TypeError, ValueError):
                continue
        last = rows[-1][0]


def first_of(transaction: Transaction, id_experiment: str, most: int) -> list[Stretch]:
    """Return the first stretches of an experiment, in order."""
    sql = f"SELECT {_NAMES} FROM experiment_standings WHERE id_experiment = ?"
    rows = transaction.rows(f"{sql} ORDER BY first_position LIMIT {most:d}", (id_experiment,))
    return [Stretch(*row) for row in rows]


def stored(transaction: Transaction, id_experiment: str) -> list[Stretch]:
    """Return all stretches of an experiment, in order."""
    return _stored(transaction, id_experiment, 0, None)


def _stored(
    transaction: Transaction, id_experiment: str, low: int, high: int | None
) -> list[Stretch]:
    """Return the stretches that have positions from one to another, in order."""
    sql = (
        f"SELECT {_NAMES} FROM experiment_standings WHERE id_experiment = ? AND first_position >= "
        "(SELECT coalesce(max(first_position), 0) FROM experiment_standings "
        "WHERE id_experiment = ? AND first_position <= ?)"
    )
    values: tuple[Any, ...] = (id_experiment, id_experiment, low)
    if high is not None:
        sql, values = f"{sql} AND first_position <= ?", (*values, high)
    rows = transaction.rows(f"{sql} ORDER BY first_position", values)
    return [Stretch(*row) for row in rows if row[1] >= low]


def _spans(new: Sequence[Stretch]) -> Iterator[Sequence[Stretch]]:
    """Yield stretches, which are in order, in groups of those that are near to each other."""
    if not new:
        return
    near = max(NEAR, (new[-1].last - new[0].first) // MOST_SPANS)
    ends = [
        index for index, (one, two) in enumerate(pairwise(new), 1) if two.first - one.last > near
    ]
    for start, end in pairwise([0, *ends, len(new)]):
        yield new[start:end]


def _replace(
    transaction: Transaction, id_experiment: str, old: Sequence[Stretch], now: Sequence[Stretch]
) -> None:
    """Write what is different."""
    before, after = set(old), set(now)
    gone = [one.first for one in old if one not in after]
    for start in range(0, len(gone), CHUNK):
        chunk = gone[start : start + CHUNK]
        marks = ", ".join("?" * len(chunk))
        transaction.run(
            "DELETE FROM experiment_standings "
            f"WHERE id_experiment = ? AND first_position IN ({marks})",
            (id_experiment, *chunk),
        )
    _insert(transaction, id_experiment, [one for one in now if one not in before])


def _insert(transaction: Transaction, id_experiment: str, new: Sequence[Stretch]) -> None:
    if new:
        columns = [Constant(id_experiment, len(new)), *zip(*new, strict=True)]
        transaction.insert("experiment_standings", STANDINGS, columns)
