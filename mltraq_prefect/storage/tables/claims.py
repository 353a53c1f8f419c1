"""Claims: which processes execute an experiment together, and which of its runs each has taken.

`experiment_claims` has a row for each process that takes part: its lease, which it renews.
`experiment_queue` has a row for each run of the sweep: who has taken it, and what came of it. A run
is taken by one process at a time; what is written of it is written by that one alone.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mltraq_prefect.errors import CorruptData, MltraqError
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.sql.transactions import Transaction
from mltraq_prefect.storage.texts import texts_of
from mltraq_prefect.storage.values.kinds import DATETIME, INT, KEY, TEXT, Kind

CLAIMS: dict[str, Kind] = {
    "id_experiment": KEY,
    "claim": KEY,
    "sweep": KEY,
    "worker": TEXT,
    "flow_run_id": TEXT,
    "workers": INT,
    "started_at": DATETIME,
    "expires_at": DATETIME,
    "completed": INT,
    "failed": INT,
    "runs": INT,
    "grid": KEY,
    "fingerprints": TEXT,
    "package": TEXT,
}
CLAIMS_KEY = ("id_experiment", "claim")

QUEUE: dict[str, Kind] = {
    "id_experiment": KEY,
    "id_run": KEY,
    "position": INT,
    "sweep": KEY,
    "claim": KEY,
    "state": KEY,
}
QUEUE_KEY = ("id_experiment", "id_run")

QUEUE_INDEX_NAME = "experiment_queue_by_claim"

QUEUE_INDEX = ("id_experiment", "sweep", "state", "claim", "position")
"""Leads to the first runs that are free, or that a process has taken and not ended."""

NOBODY = ""
"""The claim of a run that is free."""

RUNS_A_STATEMENT = 500


class NotOurs(MltraqError):
    """What came of runs here is not to be written; never leaves the package.

    Attributes:
        ids: Those runs.
    """

    what = ""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = frozenset(ids)
        super().__init__(f"{len(self.ids):,} runs {self.what}")


class ClaimLost(NotOurs):
    """Runs that a process was executing are not its own any more."""

    what = "are executed by somebody else now"


@dataclass(frozen=True, slots=True)
class Terms:
    """What all processes of a sweep agree on.

    Attributes:
        runs: Number of runs of the experiment.
        grid: A digest of their ids.
        fingerprints: The fingerprint of each step, in order.
        package: Version of this package.
    """

    runs: int
    grid: str
    fingerprints: Mapping[str, str]
    package: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease of one process.

    Attributes:
        claim: Identifies it.
        sweep: Identifies what it takes part in: all that is executed together.
        worker: Host and id of the process.
        flow_run_id: Id of its flow run, or None.
        workers: How many runs it executes at the same time.
        since: When it began (UTC).
        until: When it runs out, unless it is renewed (UTC).
        completed: How many runs it has completed.
        failed: How many runs have failed in it.
        terms: What it agrees on with the others.
    """

    claim: str
    sweep: str
    worker: str
    flow_run_id: str | None
    workers: int
    since: datetime.datetime
    until: datetime.datetime
    completed: int
    failed: int
    terms: Terms

    @property
    def who(self) -> str:
        """The process, for a person."""
        of_flow = "" if self.flow_run_id is None else f" (flow run {self.flow_run_id})"
        return f"{self.worker}{of_flow}"


def clock(transaction: Transaction) -> datetime.datetime:
    """Return the time by the clock of the database, in UTC, naive: leases know no other."""
    ((now,),) = transaction.rows(f"SELECT {transaction.dialect.clock}")
    return _moment(now)


def read(transaction: Transaction, id_experiment: str, sweep: str | None = None) -> list[Claim]:
    """Return the claims on an experiment, those that began first come first.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        sweep: Only those of one sweep; all if None.
    """
    names = ", ".join(list(CLAIMS)[1:])
    sql = f"SELECT {names} FROM experiment_claims WHERE id_experiment = ?"
    own: tuple[Any, ...] = (id_experiment,)
    if sweep is not None:
        sql, own = f"{sql} AND sweep = ?", (id_experiment, sweep)
    found = [_claim(row) for row in transaction.rows(sql, own)]
    return sorted(found, key=lambda claim: (claim.since, claim.claim))


def _claim(row: Sequence[Any]) -> Claim:
    claim, sweep, worker, flow_run_id, workers, since, until, completed, failed, *terms = row
    runs, grid, fingerprints, package = terms
    return Claim(
        claim=claim,
        sweep=sweep,
        worker=worker,
        flow_run_id=flow_run_id,
        workers=int(workers),
        since=_moment(since),
        until=_moment(until),
        completed=int(completed),
        failed=int(failed),
        terms=Terms(
            int(runs), grid, texts_of(fingerprints, "the fingerprints of a claim"), package
        ),
    )


def _moment(cell: Any) -> datetime.datetime:
    if isinstance(cell, datetime.datetime):
        return cell
    try:
        return datetime.datetime.fromisoformat(cell)
    except (ValueError, TypeError):
        raise CorruptData(f"a time of a claim is {cell!r}") from None


def put(transaction: Transaction, id_experiment: str, claim: Claim) -> None:
    """Insert a claim."""
    terms = claim.terms
    cells = (
        *(id_experiment, claim.claim, claim.sweep, claim.worker, claim.flow_run_id),
        *(claim.workers, claim.since.isoformat(" "), claim.until.isoformat(" ")),
        *(claim.completed, claim.failed, terms.runs, terms.grid),
        *(json.dumps(dict(terms.fingerprints)), terms.package),
    )
    names, marks = ", ".join(CLAIMS), ", ".join("?" * len(CLAIMS))
    transaction.run(f"INSERT INTO experiment_claims ({names}) VALUES ({marks})", cells)


def extend(
    transaction: Transaction,
    id_experiment: str,
    claim: str,
    until: datetime.datetime,
    flow_run_id: str | None,
) -> None:
    """Renew a claim, if it is there."""
    sql = (
        "UPDATE experiment_claims SET expires_at = ?, flow_run_id = ? "
        "WHERE id_experiment = ? AND claim = ?"
    )
    transaction.run(sql, (until.isoformat(" "), flow_run_id, id_experiment, claim))


def forget(transaction: Transaction, id_experiment: str, claim: str | None = None) -> None:
    """Delete a claim, or all of an experiment."""
    sql, own = "DELETE FROM experiment_claims WHERE id_experiment = ?", (id_experiment,)
    if claim is None:
        transaction.run(sql, own)
    else:
        transaction.run(f"{sql} AND claim = ?", (*own, claim))


# -- runs ----------------------------------------------------------------------------------------


def enqueue(transaction: Transaction, id_experiment: str, sweep: str, ids: Iterable[str]) -> None:
    """List the runs of a sweep in the place of those of an earlier one.

    Args:
        transaction: Where; it holds the lock of the experiment.
        id_experiment: The experiment.
        sweep: The sweep.
        ids: Its runs.
    """
    dequeue(transaction, id_experiment)
    wanted = frozenset(ids)
    sql = "SELECT id_run, position FROM experiment_runs WHERE id_experiment = ? ORDER BY position"
    rows = [row for row in transaction.rows(sql, (id_experiment,)) if row[0] in wanted]
    if rows:
        number = len(rows)
        cells = [[value] * number for value in (id_experiment, sweep, NOBODY, "pending")]
        columns = [cells[0], *map(list, zip(*rows, strict=True)), *cells[1:]]
        transaction.insert("experiment_queue", QUEUE, columns)


def dequeue(transaction: Transaction, id_experiment: str) -> None:
    """Forget the runs of a sweep."""
    transaction.run("DELETE FROM experiment_queue WHERE id_experiment = ?", (id_experiment,))


_PENDING = "FROM experiment_queue WHERE id_experiment = ? AND sweep = ? AND state = 'pending'"


def is_pending(transaction: Transaction, id_experiment: str, sweep: str) -> bool:
    """Return whether some run of a sweep has not ended."""
    return bool(transaction.rows(f"SELECT 1 {_PENDING} LIMIT 1", (id_experiment, sweep)))


def count_failed(transaction: Transaction, id_experiment: str, sweep: str) -> int:
    """Return how many runs of a sweep have failed, also in processes that have left it."""
    sql = (
        "SELECT count(*) FROM experiment_queue "
        "WHERE id_experiment = ? AND sweep = ? AND state = 'failed'"
    )
    ((number,),) = transaction.rows(sql, (id_experiment, sweep))
    return int(number)


def count_free(transaction: Transaction, id_experiment: str, sweep: str) -> int:
    """Return about how many runs are free: they are taken in order, so two looks tell."""
    sql = f"SELECT min(position), max(position) {_PENDING} AND claim = '{NOBODY}'"
    ((first, last),) = transaction.rows(sql, (id_experiment, sweep))
    return 0 if first is None else int(last) - int(first) + 1


def pending_of(
    transaction: Transaction, id_experiment: str, sweep: str, claim: str, most: int
) -> list[str]:
    """Lock and return the first runs of a claim that have not ended, but for those locked.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        sweep: The sweep.
        claim: The claim; `NOBODY` for runs that are free.
        most: How many at most.
    """
    lock = transaction.dialect.skip_locked
    sql = f"SELECT id_run {_PENDING} AND claim = ? ORDER BY position LIMIT {most:d}{lock}"
    return [id_run for (id_run,) in transaction.rows(sql, (id_experiment, sweep, claim))]


def take(transaction: Transaction, id_experiment: str, claim: str, ids: Sequence[str]) -> None:
    """Give locked runs to a claim."""
    for some, marks in _chunks(ids):
        sql = f"UPDATE experiment_queue SET claim = ? WHERE id_experiment = ? AND id_run IN {marks}"
        transaction.run(sql, (claim, id_experiment, *some))


def give_back(transaction: Transaction, id_experiment: str, claim: str) -> None:
    """Set free what a claim has taken and not ended."""
    sql = (
        f"UPDATE experiment_queue SET claim = '{NOBODY}' "
        "WHERE id_experiment = ? AND claim = ? AND state = 'pending'"
    )
    transaction.run(sql, (id_experiment, claim))


def held(transaction: Transaction, id_experiment: str) -> Mapping[str, int]:
    """Return how many runs each claim has taken and not ended."""
    sql = (
        "SELECT claim, count(*) FROM experiment_queue "
        "WHERE id_experiment = ? AND state = 'pending' GROUP BY claim"
    )
    return Counter(dict(transaction.rows(sql, (id_experiment,))))


def claims_of(transaction: Transaction, id_experiment: str, ids: Sequence[str]) -> set[str]:
    """Return the claims that some runs are of."""
    found: set[str] = set()
    for some, marks in _chunks(ids):
        sql = (
            "SELECT DISTINCT claim FROM experiment_queue "
            f"WHERE id_experiment = ? AND id_run IN {marks}"
        )
        found.update(claim for (claim,) in transaction.rows(sql, (id_experiment, *some)))
    return found


def lost(
    transaction: Transaction, id_experiment: str, claim: str, ids: Sequence[str]
) -> frozenset[str]:
    """Return which of some runs are not of a claim any more; lock the others."""
    own: set[str] = set()
    for some, marks in _chunks(ids):
        sql = (
            f"SELECT id_run FROM experiment_queue WHERE id_experiment = ? AND id_run IN {marks} "
            f"AND claim = ?{transaction.dialect.for_update}"
        )
        own.update(row[0] for row in transaction.rows(sql, (id_experiment, *some, claim)))
    return frozenset(ids) - own


def settle(transaction: Transaction, id_experiment: str, claim: str, runs: Sequence[Run]) -> None:
    """Note what came of runs of a claim, in the transaction that writes them.

    Args:
        transaction: Where; it holds the lock of the experiment.
        id_experiment: The experiment.
        claim: The claim.
        runs: Runs that have ended.

    Raises:
        ClaimLost: Some are not of the claim any more; nothing may be written.
    """
    gone = lost(transaction, id_experiment, claim, [run.id_run for run in runs])
    if gone:
        raise ClaimLost(gone)
    ended: Counter[str] = Counter()
    by_state: dict[str, list[str]] = {}
    for run in runs:
        by_state.setdefault(run.ledger.state, []).append(run.id_run)
    for state, ids in by_state.items():
        number = _end(transaction, id_experiment, claim, ids, state)
        ended["failed" if state == "failed" else "completed"] += number
    sql = (
        "UPDATE experiment_claims SET completed = completed + ?, failed = failed + ? "
        "WHERE id_experiment = ? AND claim = ?"
    )
    transaction.run(sql, (ended["completed"], ended["failed"], id_experiment, claim))


def note_done(transaction: Transaction, id_experiment: str, claim: str, ids: Sequence[str]) -> int:
    """Note that somebody without a claim has executed runs; return how many were of this one."""
    return _end(transaction, id_experiment, claim, ids, "completed")


def _end(
    transaction: Transaction, id_experiment: str, claim: str, ids: Sequence[str], state: str
) -> int:
    """Give the pending runs of a claim, among some, their last state; return how many that were."""
    number = 0
    for some, marks in _chunks(ids):
        where = f"WHERE id_experiment = ? AND id_run IN {marks} AND claim = ? AND state = 'pending'"
        own = (id_experiment, *some, claim)
        ((count,),) = transaction.rows(f"SELECT count(*) FROM experiment_queue {where}", own)
        transaction.run(f"UPDATE experiment_queue SET state = ? {where}", (state, *own))
        number += int(count)
    return number


def _chunks(ids: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Yield some ids at a time, with marks for them."""
    for start in range(0, len(ids), RUNS_A_STATEMENT):
        some = ids[start : start + RUNS_A_STATEMENT]
        yield some, f"({', '.join('?' * len(some))})"
