"""Shared executions: several processes, on any machines, execute the runs of one experiment.

Each takes runs by a claim in the database, renews its lease on them, and writes what comes of them
itself. A process that dies costs the others its lease; its runs are then taken by them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from types import TracebackType
from typing import Self

from xxhash import xxh3_128_hexdigest

from mltraq_prefect.checkpoints.selection import refuse_otherwise
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.errors import ExperimentNotFound, InvalidInput, StoreError
from mltraq_prefect.execution import ExecutionOptions, RunFingerprints, Step, differences
from mltraq_prefect.execution.batch_size import BatchSizer
from mltraq_prefect.execution.cores import worker_count
from mltraq_prefect.execution.costs import worker_name
from mltraq_prefect.execution.fanout.progress import Elsewhere, ProgressDisplay
from mltraq_prefect.execution.options import LEASE_SECONDS
from mltraq_prefect.model.run import Run
from mltraq_prefect.orchestration.current import when_flow_run_known
from mltraq_prefect.storage.membership import Member, Room, Taken
from mltraq_prefect.storage.tables.claims import Claim, Terms
from mltraq_prefect.storage.tables.first_in import ANYBODY
from mltraq_prefect.texts import counted
from mltraq_prefect.version import __version__

RENEWALS = 4
"""How often a lease is renewed before it would run out."""

POLL_SECONDS = 0.5
"""Who waits for the runs of others asks for them at this interval, in seconds."""

_logger = logging.getLogger("mltraq_prefect")


class SharedExecution:
    """A process's part in an execution that it shares with others.

    It is used as a context manager around the execution, once it has joined.

    Args:
        state: The stored state of the experiment, whose runs are listed.
        steps: The steps.
        prints: Their fingerprints in each run.
        options: Options of the execution.
    """

    def __init__(
        self,
        state: StoredState,
        steps: Sequence[Step],
        prints: RunFingerprints,
        options: ExecutionOptions,
    ) -> None:
        self._state = state
        self._name = state.name
        self._steps, self._prints = [step.name for step in steps], prints
        self._options = options
        self._lease = options.lease_seconds or LEASE_SECONDS
        member = Member(
            worker_name(),
            1 if options.is_serial else worker_count(options.n_jobs),
            self._lease,
            _terms(state, steps, prints),
        )
        self._member = member
        self._membership = state.store.membership(self._name, member)
        self._wanted: Sequence[Run] = ()
        self._held: set[str] = set()
        self._written: set[str] = set()
        self._progress: ProgressDisplay | None = None
        self._flush: Callable[[], None] = _nothing
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="mltraq lease", daemon=True)

    # -- beginning and end -----------------------------------------------------------------------

    def join(self, runs: Sequence[Run]) -> bool:
        """Take part in the execution that goes on, or begin one.

        Args:
            runs: The runs that were pending when the experiment was read.

        Returns:
            Whether it does; if not, others have written meanwhile, and it is to be read again.

        Raises:
            InvalidInput: Others execute the experiment otherwise at the moment.
        """
        self._wanted = runs
        others = self._membership.join(self._state.revision, [run.id_run for run in runs])
        if others is None:
            return False
        if not others.is_joined:
            raise InvalidInput(self._refusal(others.live))
        if others.live:
            _logger.info(
                "experiment %r: executed together with %s",
                self._name,
                ", ".join(claim.who for claim in others.live),
            )
        return True

    def __enter__(self) -> Self:
        state = self._state
        state.execute_by(replace(state.executed_by, claim=self._membership.claim))
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if not self._ended.is_set():
            self._leave(is_failing=kind is not None)

    def _leave(self, *, is_failing: bool) -> None:
        """End the part of this process; its error comes before one of the database."""
        self._ended.set()
        self._keeper.join()
        self._state.execute_by(ANYBODY)
        try:
            self._membership.leave()
        except StoreError as error:
            if not is_failing:
                raise
            _logger.warning(
                "experiment %r: the runs of this process are free when its lease has run out, in "
                "%g s: %s",
                self._name,
                self._lease,
                error,
            )

    def _await_others(self) -> None:
        """Wait until what runs elsewhere has ended, if no more runs begin after many failures."""
        self._membership.give_back()
        while self._membership.others_hold_runs():
            time.sleep(POLL_SECONDS)

    def adopt(self) -> None:
        """End the part of this process, and adopt what the others have made of the runs.

        Raises:
            ExperimentNotFound: Somebody has deleted or replaced the experiment meanwhile.
            InvalidInput: Others have executed runs otherwise, while this process was cut off.
        """
        if self._options.failure_limit is not None:
            self._await_others()
        self._leave(is_failing=False)
        ids = [run.id_run for run in self._wanted if run.id_run not in self._written]
        entries = self._state.store.entries(self._name, ids)
        if len(entries) < len(ids):
            raise ExperimentNotFound(
                f"experiment {self._name!r}: others have deleted {len(ids) - len(entries):,} of "
                "its runs from the database during the execution, or renamed the experiment; "
                "execute it again"
            )
        refuse_otherwise(
            self._name, self._state.content.runs, entries, self._steps, self._prints
        )  # once a lease has run out, all may begin
        self._state.adopt_executed(entries)
        if ids:
            _logger.info(
                "experiment %r: %s of %s executed here, the others elsewhere",
                self._name,
                f"{len(self._written):,}",
                counted(len(self._wanted), "run was", "runs were"),
            )

    # -- runs ------------------------------------------------------------------------------------

    def shown_by(self, progress: ProgressDisplay, flush: Callable[[], None]) -> None:
        """Tell the progress of the others, and write results before waiting for them.

        The others learn of the flow run that this code runs in.

        Args:
            progress: Shows the progress.
            flush: Writes what has ended here.
        """
        self._progress, self._flush = progress, flush
        when_flow_run_known(self._name_flow_run)

    def divide(self, sizer: BatchSizer) -> Iterator[tuple[str, list[Run]] | None]:
        """Yield label and runs of each batch that this process takes; None while it waits."""
        runs = self._state.content.runs
        places = {id_run: place for place, id_run in enumerate(runs, start=1)}
        due = 0.0
        while True:
            if time.monotonic() < due:
                yield None
                continue
            taken = self._membership.take(
                lambda room: self._size(room, sizer), self._held, self._options.failure_limit
            )
            self._note(taken.members)
            self._state.has_series |= taken.have_logged
            if taken.is_over:
                return
            self._tell_of_dead(taken)
            if taken.ids:
                self._held.update(taken.ids)
                yield _label(taken.ids, places), [runs[id_run] for id_run in taken.ids]
            else:
                self._flush()
                due = time.monotonic() + POLL_SECONDS
                yield None

    def _size(self, room: Room, sizer: BatchSizer) -> int:
        """Return how many runs to take: a part of the share of the workers here."""
        return sizer.size(ceil(room.free * self._member.workers / room.workers))

    def _tell_of_dead(self, taken: Taken) -> None:
        if taken.from_dead:
            _logger.warning(
                "experiment %r: %s taken over, as the lease of their process has run out",
                self._name,
                counted(taken.from_dead, "run is", "runs are"),
            )

    def _name_flow_run(self, flow_run_id: str) -> None:
        """Tell the others of the flow run, which may be made after the first runs have begun."""
        self._membership.flow_run_id = flow_run_id

    def settle(self, runs: Sequence[Run]) -> None:
        """Note that runs are written."""
        ids = {run.id_run for run in runs}
        self._written |= ids
        self._held -= ids

    def lose(self, ids: Collection[str]) -> None:
        """Tell that runs are not those of this process any more; what came of them is dropped."""
        self._held.difference_update(ids)
        if done := self._membership.note_done(ids):
            _logger.warning(
                "experiment %r: %s not written, as others without shared=True were "
                "first; what was written first counts",
                self._name,
                counted(done, "run is", "runs are"),
            )
        if done == len(ids):
            return
        now = self._membership.who_has(ids)
        _logger.warning(
            "experiment %r: %s not written, as the lease of this process (%g s) had run "
            "out meanwhile; %s",
            self._name,
            counted(len(ids) - done, "run is", "runs are"),
            self._lease,
            "others were first" if now is None else f"{now.who} has taken over",
        )

    # -- others ----------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Renew the lease until the end; a database that is away is asked again and again."""
        while not self._ended.wait(self._lease / RENEWALS):
            try:
                self._note(self._membership.renew())
            except StoreError as error:
                _logger.warning("experiment %r: the lease is not renewed: %s", self._name, error)

    def _note(self, members: Sequence[Claim]) -> None:
        others = [one for one in members if one.claim != self._membership.claim]
        if self._progress is not None:
            self._progress.note_elsewhere(
                Elsewhere(
                    sum(one.completed for one in others),
                    sum(one.failed for one in others),
                    len(others) + 1,
                )
            )

    def _refusal(self, others: Sequence[Claim]) -> str:
        mine = self._member.terms
        other = next(claim for claim in others if claim.terms != mine)
        what = "; ".join(_differences(other.terms, mine, self._parts()))
        return (
            f"experiment {self._name!r} is executed by {other.who} at the moment, but differently: "
            f"{what}. Processes that execute an experiment together need the same runs, steps, "
            "kwargs, seed and package; give them, or wait until the others have ended "
            f"(session.claims({self._name!r}) lists them)"
        )

    def _parts(self) -> Mapping[str, Mapping[str, str]]:
        stored = self._state.store.read(self._name, columns=[], ids=[])
        known = self._state.fingerprints | stored.fingerprints
        return {digest: item.parts for digest, item in known.items()}


def refuse_beside_shared(state: StoredState, steps: Sequence[str]) -> None:
    """Refuse a checkpointed execution of steps that others execute together at the moment.

    Args:
        state: The stored state of the experiment.
        steps: Names of the steps.

    Raises:
        InvalidInput: There are others; the runs would be executed twice, and perhaps otherwise.
    """
    name = state.name
    for listed in state.store.claims(name) if state.store.exists(name) else ():
        both = [step for step in steps if step in listed.claim.terms.fingerprints]
        if listed.is_live and both:
            raise InvalidInput(
                f"experiment {name!r}: {', '.join(both)} is executed by {listed.claim.who} at the "
                "moment, with shared=True; take part with shared=True, or wait until it has ended "
                f"(session.claims({name!r}) lists who does what)"
            )


def _nothing() -> None:
    pass


def _terms(state: StoredState, steps: Sequence[Step], prints: RunFingerprints) -> Terms:
    runs = state.content.runs.values()
    told = sorted(f"{run.id_run} {prints.follow(run.params)}" for run in runs)
    return Terms(
        len(told),
        xxh3_128_hexdigest("\n".join(told).encode()),
        {step.name: step.fingerprint for step in steps},
        __version__,
    )


def _differences(
    theirs: Terms, mine: Terms, parts: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """Yield what differs, for a person."""
    if theirs.package != mine.package:
        yield f"mltraq_prefect {theirs.package} there, {mine.package} here"
    if list(theirs.fingerprints) != list(mine.fingerprints):
        names = [", ".join(terms.fingerprints) for terms in (theirs, mine)]
        yield f"the steps {names[0]} there, {names[1]} here"
    for name, before in theirs.fingerprints.items():
        now = mine.fingerprints.get(name, before)
        if before != now:
            yield f"step {name!r}: {', '.join(differences(before, now, parts))}"
    if theirs.grid != mine.grid:
        same = theirs.runs == mine.runs
        yield "other runs" if same else f"{theirs.runs:,} runs there, {mine.runs:,} here"


def _label(ids: Sequence[str], places: Mapping[str, int]) -> str:
    """Return which runs of the experiment a batch has, for the name of its task run."""
    first, last = places[ids[0]], places[ids[-1]]
    if len(ids) == 1:
        return f"{first} of {len(places)}"
    return f"{first}-{last} of {len(places)}"
