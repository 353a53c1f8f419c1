"""One process's part in a shared sweep, as the database has it: joining, taking runs, leaving."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mltraq_prefect.storage.formats.schema import check_version
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.tables import claims, experiments_table
from mltraq_prefect.storage.tables.claims import NOBODY, Claim, Terms
from mltraq_prefect.storage.values.names import table_name


@dataclass(frozen=True, slots=True)
class Member:
    """What a process says of itself.

    Attributes:
        worker: Its host and id.
        workers: How many runs it executes at the same time.
        lease_seconds: How long the others wait for a sign of it.
        terms: What it wants to agree on with the others.
    """

    worker: str
    workers: int
    lease_seconds: float
    terms: Terms


class Others(NamedTuple):
    """The other processes of a sweep.

    Attributes:
        live: Those whose lease has not run out.
        is_joined: Whether this process takes part now; if not, they agree on other terms.
    """

    live: Sequence[Claim]
    is_joined: bool


class Room(NamedTuple):
    """What there is to take.

    Attributes:
        free: About how many runs nobody has taken.
        workers: How many runs all processes together execute at the same time.
    """

    free: int
    workers: int


class Taken(NamedTuple):
    """What a process has taken.

    Attributes:
        ids: The runs.
        is_over: Whether no run of the sweep is left, or none may begin any more.
        from_dead: How many of the runs were those of processes whose leases have run out.
        members: The claims of the sweep.
        have_logged: Whether there are rows that runs of the experiment have logged.
    """

    ids: Sequence[str]
    is_over: bool
    from_dead: int = 0
    members: Sequence[Claim] = ()
    have_logged: bool = False


class Membership:
    """A process's part in the shared sweep of an experiment; threads may use it.

    Args:
        database: Where.
        name: Name of the experiment.
        member: The process.

    Attributes:
        claim: Identifies its claim.
        flow_run_id: Id of its flow run, as soon as there is one.
    """

    def __init__(self, database: Database, name: str, member: Member) -> None:
        self._database = database
        self._name = name
        self._member = member
        self._id_experiment = ""
        self._sweep = ""
        self.claim = uuid.uuid4().hex
        self.flow_run_id: str | None = None

    def join(self, revision: int | None, ids: Collection[str]) -> Others | None:
        """Take part in the sweep that goes on, or begin one.

        Args:
            revision: The revision of the experiment in which the runs were pending.
            ids: The runs to be executed.

        Returns:
            The others; None if the experiment has been written meanwhile, and is to be read again.
        """
        return self._database.retry(lambda: self._join(revision, ids))

    def _join(self, revision: int | None, ids: Collection[str]) -> Others | None:
        with self._database.writing(table_name(self._name)) as transaction:
            check_version(transaction, self._database)
            entry = experiments_table.find(transaction, self._name)
            if entry is None:
                return None
            now = claims.clock(transaction)
            id_experiment = self._id_experiment = entry.id_experiment
            live = [
                own
                for own in claims.read(transaction, id_experiment)
                if own.until > now and own.claim != self.claim
            ]
            active = [
                own for own in live if claims.is_pending(transaction, id_experiment, own.sweep)
            ]
            if not active and entry.revision != revision:
                return None
            if any(own.terms != self._member.terms for own in active):
                return Others(active, is_joined=False)
            self._sweep = active[0].sweep if active else uuid.uuid4().hex
            if not active:
                claims.enqueue(transaction, id_experiment, self._sweep, ids)
                for gone in claims.read(transaction, id_experiment):
                    if gone.until <= now:
                        claims.forget(transaction, id_experiment, gone.claim)
            claims.forget(transaction, id_experiment, self.claim)
            claims.put(transaction, id_experiment, self._claim(now))
            return Others(active, is_joined=True)

    def _claim(self, now: datetime.datetime) -> Claim:
        own, until = self._member, self._until(now)
        return Claim(
            self.claim, self._sweep, own.worker, self.flow_run_id, own.workers, now, until, 0, 0,
            own.terms,
        )  # fmt: skip

    def _until(self, now: datetime.datetime) -> datetime.datetime:
        return now + datetime.timedelta(seconds=self._member.lease_seconds)

    def take(
        self,
        size: Callable[[Room], int],
        held: Collection[str],
        most_failures: int | None,
    ) -> Taken:
        """Take runs that nobody has taken, or whose process has let its lease run out.

        Args:
            size: Returns how many runs to take at most.
            held: Runs that this process has taken and is not done with.
            most_failures: After so many failures in the sweep no run may begin; None is no limit.
        """
        return self._database.retry(lambda: self._take(size, held, most_failures))

    def _take(
        self, size: Callable[[Room], int], held: Collection[str], most_failures: int | None
    ) -> Taken:
        id_experiment = self._id_experiment
        with self._database.updating() as transaction:
            now = claims.clock(transaction)
            members = self._members(transaction, now)
            sweep = self._sweep
            if not members or self._has_failed(transaction, most_failures):
                return Taken((), is_over=True, members=members)
            self._renew(transaction, now)
            live = {one.claim for one in members if one.until > now} | {self.claim}
            workers = sum(one.workers for one in members if one.claim in live)
            free = claims.count_free(transaction, id_experiment, sweep)
            most = size(Room(free, workers))
            ids = self._pending(transaction, NOBODY, most) if free else []
            dead = [one.claim for one in members if one.claim not in live]
            number = len(ids)
            for claim in dead:
                ids += self._pending(transaction, claim, most - len(ids))
            from_dead = len(ids) - number
            claims.take(transaction, id_experiment, self.claim, ids)
            if not ids:  # what was taken for us by a statement whose answer was lost
                ids = self._pending(transaction, self.claim, most + len(held))
            is_over = not ids and not claims.is_pending(transaction, id_experiment, sweep)
            have_logged = experiments_table.has_series(transaction, id_experiment)
            new = [id_run for id_run in ids if id_run not in held]  # others are being executed
            return Taken(new, is_over, from_dead, members, have_logged)

    def _members(self, transaction: Transaction, now: datetime.datetime) -> list[Claim]:
        """Return the claims of the sweep; none if this process does not take part any more.

        It takes part again if its lease had run out, and others, who saw nobody, have begun another
        sweep of the same.
        """
        id_experiment, terms = self._id_experiment, self._member.terms
        found = claims.read(transaction, id_experiment)
        if all(one.claim != self.claim for one in found):
            sweeps = (one.sweep for one in found if one.until > now and one.terms == terms)
            other = next(
                (s for s in sweeps if claims.is_pending(transaction, id_experiment, s)), None
            )
            if other is None:
                return []
            self._sweep = other
            found.append(self._claim(now))
            claims.put(transaction, id_experiment, found[-1])
        return [one for one in found if one.sweep == self._sweep]

    def _has_failed(self, transaction: Transaction, most: int | None) -> bool:
        """Return whether so many runs have failed that none may begin."""
        if most is None:
            return False
        return claims.count_failed(transaction, self._id_experiment, self._sweep) >= most

    def _pending(self, transaction: Transaction, claim: str, most: int) -> list[str]:
        if most <= 0:
            return []
        return claims.pending_of(transaction, self._id_experiment, self._sweep, claim, most)

    def renew(self) -> Sequence[Claim]:
        """Renew the lease, by the clock of the database; return the claims of the sweep."""

        def renew() -> Sequence[Claim]:
            with self._database.updating() as transaction:
                self._renew(transaction, claims.clock(transaction))
                return claims.read(transaction, self._id_experiment, self._sweep)

        return self._database.retry(renew)

    def _renew(self, transaction: Transaction, now: datetime.datetime) -> None:
        until, flow = self._until(now), self.flow_run_id
        claims.extend(transaction, self._id_experiment, self.claim, until, flow)

    def give_back(self) -> None:
        """Set free what has been taken and not ended."""

        def give_back() -> None:
            with self._database.updating() as transaction:
                claims.give_back(transaction, self._id_experiment, self.claim)

        self._database.retry(give_back)

    def note_done(self, ids: Collection[str]) -> int:
        """Note that somebody who takes no part has executed runs; return how many were taken."""

        def note() -> int:
            with self._database.updating() as transaction:
                return claims.note_done(transaction, self._id_experiment, self.claim, list(ids))

        return self._database.retry(note)

    def others_hold_runs(self) -> bool:
        """Return whether other processes, whose leases have not run out, execute runs."""

        def ask() -> bool:
            with self._database.reading() as transaction:
                now = claims.clock(transaction)
                held = claims.held(transaction, self._id_experiment)
                members = claims.read(transaction, self._id_experiment, self._sweep)
                others = [one for one in members if one.claim != self.claim and one.until > now]
                return any(held.get(one.claim) for one in others)

        return self._database.retry(ask)

    def leave(self) -> None:
        """Give back what has been taken and not ended; forget the sweep if no one is left."""
        self._database.retry(self._leave)

    def _leave(self) -> None:
        with self._database.writing(table_name(self._name)) as transaction:
            now, id_experiment = claims.clock(transaction), self._id_experiment
            claims.give_back(transaction, id_experiment, self.claim)
            claims.forget(transaction, id_experiment, self.claim)
            others = claims.read(transaction, id_experiment)
            if not any(one.until > now for one in others):
                claims.dequeue(transaction, id_experiment)
                claims.forget(transaction, id_experiment)

    def who_has(self, ids: Iterable[str]) -> Claim | None:
        """Return the claim of a process that has one of some runs now; None if there is none."""

        def find() -> Claim | None:
            with self._database.reading() as transaction:
                found = claims.claims_of(transaction, self._id_experiment, list(ids))
                members = claims.read(transaction, self._id_experiment, self._sweep)
                return next((one for one in members if one.claim in found), None)

        return self._database.retry(find)


class Listed(NamedTuple):
    """A claim, as a person sees it.

    Attributes:
        claim: The claim.
        runs: How many runs it has taken and not ended.
        is_live: Whether the lease has not run out.
    """

    claim: Claim
    runs: int
    is_live: bool

    def row(self) -> tuple[Any, ...]:
        """Return its cells in the order of `CLAIM_COLUMNS`."""
        own = self.claim
        ended = own.completed, own.failed, own.since, own.until
        return (own.worker, own.flow_run_id, own.workers, self.runs, *ended, self.is_live)


CLAIM_COLUMNS = (
    *("worker", "flow_run_id", "workers", "runs", "completed", "failed", "since", "until"),
    "is_live",
)
"""Columns of the list of claims."""


def listed(transaction: Transaction, id_experiment: str) -> list[Listed]:
    """Return the claims on an experiment."""
    now = claims.clock(transaction)
    held = claims.held(transaction, id_experiment)
    return [
        Listed(own, int(held.get(own.claim, 0)), own.until > now)
        for own in claims.read(transaction, id_experiment)
    ]
