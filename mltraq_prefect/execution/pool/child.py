"""Main loop of a worker process: it executes jobs for its parent until the parent ends."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mltraq_prefect.execution.batch import Outcome, execute_chunk, outcome_of_rows
from mltraq_prefect.execution.captured_state import step_factory
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.fingerprints import ModuleReads
from mltraq_prefect.execution.frozen_values import FrozenValues, Pickled
from mltraq_prefect.execution.inputs import Inputs, received
from mltraq_prefect.execution.judge import Attempted, Verdict
from mltraq_prefect.execution.lazy_context import entered_lazily, set_environment
from mltraq_prefect.execution.module_state import ModuleState
from mltraq_prefect.execution.pool.crash_report import NO_RUN, Recorder
from mltraq_prefect.execution.pool.output import mark_run, set_level, start_output
from mltraq_prefect.execution.pool.preparation import prepared, refusal
from mltraq_prefect.execution.process_state import Inherited, ProcessState, inherit
from mltraq_prefect.execution.row_buffer import ROWS_AT_ONCE, RowChannel
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.series import LoggedRows

IDLE_SECONDS = 120.0
"""A worker ends after being idle for this long: on a cluster nobody ends it."""


VERDICT_SECONDS = 0.05
"""A step that logs often looks for a decision at this interval, in seconds."""


class Job(NamedTuple):
    """What a worker executes; sent to each worker once, then known by its key.

    Attributes:
        key: Identifies the job.
        step: Pickle of the step.
        inputs: The kwargs (`Inputs`); only their key for a worker that has them already.
        level: Log records below this level are not collected.
        timeout_seconds: Limit for one run, in seconds, or None.
        inherited: Settings that the worker gets from the main program.
        reads: What the step reads from modules.
        awaits: Whether the step waits for decisions on its rows; None if there are none.
        monitors: Whether what the step uses is logged, too.
        files: Where files go.
        name: Name of the step.
    """

    key: str
    step: Pickled
    inputs: Any
    level: int
    timeout_seconds: float | None
    inherited: Inherited
    reads: ModuleReads
    awaits: bool | None = None
    monitors: bool = False
    files: Desk | None = None
    name: str = ""


PreparedJob = tuple[Job, Callable[[], Step], FrozenValues, ModuleState]
"""A job, the factory of its step, its kwargs, and the globals that it reads."""


class Refusal(NamedTuple):
    """Answer of a worker if the execution must not go on.

    Attributes:
        message: Why not, for a person.
    """

    message: str


class Outbox:
    """Sends outcomes to the parent; threads may use it.

    Rows of attempts that have ended wait for the outcome of the next runs: most runs log little.

    Args:
        channel: The pipe to the parent.
    """

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._rows: list[LoggedRows] = []
        self._count = 0

    def send(self, value: Any) -> None:
        """Send an answer; an outcome takes along the rows that wait."""
        with self._lock:
            if isinstance(value, Outcome):
                value.rows, self._rows, self._count = self._rows, [], 0
            self._channel.send_bytes(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))

    def hand_over(self, rows: LoggedRows, goes_on: bool) -> None:
        """Take rows, and send them if their attempt goes on, or many wait."""
        with self._lock:
            self._rows.append(rows)
            self._count += len(rows.rows)
        if goes_on or self._count >= ROWS_AT_ONCE:
            self.send(outcome_of_rows([]))


class ReceivedVerdicts:
    """Decisions that the parent sends while a step is executed; threads may use it.

    Args:
        channel: The pipe to the parent.
        are_awaited: Whether the step waits for the decision on each row.
    """

    def __init__(self, channel: Connection, *, are_awaited: bool) -> None:
        self.are_awaited = are_awaited
        self._channel = channel
        self._lock = threading.Lock()
        self._known: Verdict | None = None
        self._due = 0.0

    def stops(self, attempt: Attempted, rows: int) -> bool:
        """Return whether an attempt is stopped; wait for that if decisions are awaited."""
        with self._lock:
            if self.are_awaited:
                while not self._is_about(attempt) or self._rows() < rows:
                    self._receive()
            elif time.monotonic() >= self._due:
                self._due = time.monotonic() + VERDICT_SECONDS
                while self._channel.poll():
                    self._receive()
            return self._is_about(attempt) and self._known is not None and self._known.stops

    def _receive(self) -> None:
        message = unpickled(self._channel.recv_bytes())
        if isinstance(message, Verdict):
            self._known = message

    def _is_about(self, attempt: Attempted) -> bool:
        return self._known is not None and self._known.attempt == attempt

    def _rows(self) -> int:
        return 0 if self._known is None else self._known.rows


def serve(channel: Connection, recorder: Recorder) -> None:
    """Execute the jobs that arrive through the channel.

    Each message has a job (or the key of an earlier job), a chunk, and a `LazyContext`. The answers
    are pickled outcomes, or the traceback of the error that prevented the execution.
    """
    jobs: dict[str, PreparedJob] = {}
    kwargs_by_key: dict[str, FrozenValues] = {}
    outbox = Outbox(channel)
    while channel.poll(IDLE_SECONDS):
        recorder.note(NO_RUN)
        try:
            message = unpickled(channel.recv_bytes())
            if isinstance(message, Verdict):  # on an attempt that has ended meanwhile
                continue
            job, chunk, lazy_context = message
            set_environment(lazy_context)
            if isinstance(job, Job):
                if isinstance(job.inputs, Inputs):
                    kwargs_by_key[job.inputs.key] = received(job.inputs)
                    job = job._replace(inputs=job.inputs.key)
                make_step, same = step_factory(job.step)
                modules = ModuleState(job.reads, same)
                jobs[job.key] = (job, make_step, kwargs_by_key[job.inputs], modules)
                job = job.key
            with entered_lazily(lazy_context):
                awaits = jobs[job][0].awaits
                verdicts = None
                if awaits is not None:
                    verdicts = ReceivedVerdicts(channel, are_awaited=awaits)
                own = jobs[job][0]
                rows = RowChannel(outbox.hand_over, verdicts, own.monitors, own.files)
                _execute(outbox, rows, recorder, jobs[job], chunk)
        except (Exception, SystemExit):
            message = refusal()
            outbox.send(Refusal(message) if message else traceback.format_exc())


def _execute(
    outbox: Outbox,
    rows: RowChannel,
    recorder: Recorder,
    prepared_job: PreparedJob,
    chunk: Chunk,
) -> None:
    job, make_step, kwargs, modules = prepared_job
    set_level(job.level)
    inherit(job.inherited)
    state, changed = ProcessState(), set[str]()

    @contextmanager
    def guard(index: int) -> Iterator[None]:
        if job.files is not None and job.files.keeps_logs:
            mark_run(chunk[index].id_run)
        try:
            with recorder.watching(index, job.timeout_seconds), prepared():
                modules.watch_before(kwargs, chunk[index].params)
                yield
        finally:
            state.restore()
            changed.update(modules.restore())

    for outcome in execute_chunk(make_step, kwargs, chunk, guard, rows):
        outcome.changed, changed = changed, set()
        outbox.send(outcome)


def main(channel: int, file: int, liveness: int) -> None:
    """Run a worker.

    Args:
        channel: Descriptor of the pipe to the parent.
        file: Descriptor of the recorder's file.
        liveness: Descriptor of a socket that is closed when the parent ends.
    """
    _end_with_parent(liveness)
    start_output()
    recorder = Recorder(file)
    recorder.start()
    with Connection(channel) as connection:
        try:
            serve(connection, recorder)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _end_with_parent(liveness: int) -> None:
    """End this process, and those that steps have started, when the fork server ends."""

    def wait() -> None:
        os.read(liveness, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="parent watcher", daemon=True).start()
