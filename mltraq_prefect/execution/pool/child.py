"""What runs in a worker process: it executes batches for its parent until the parent is gone."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from mltraq_prefect.execution.batch import execute_packed
from mltraq_prefect.execution.captured_state import maker_of
from mltraq_prefect.execution.copies import AtRest, Pickled
from mltraq_prefect.execution.fingerprints import ModuleReads
from mltraq_prefect.execution.inputs import Inputs, received
from mltraq_prefect.execution.module_state import ModuleState
from mltraq_prefect.execution.pool.crash_report import NO_RUN, Recorder
from mltraq_prefect.execution.pool.output import set_level, start_output
from mltraq_prefect.execution.pool.preparation import prepared, refusal
from mltraq_prefect.execution.process_state import Inherited, ProcessState, inherit
from mltraq_prefect.execution.serialization import Parcel
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.execution.surroundings import set_environment, surrounded
from mltraq_prefect.model.pickling import unpickled

IDLE_SECONDS = 120.0
"""A worker ends when it had nothing to do for this long: on a cluster nobody ends it."""


class Job(NamedTuple):
    """What a worker executes; sent to each worker once, then known by its key.

    Attributes:
        key: Identifies it.
        packed: Pickle of the step.
        inputs: The kwargs (`Inputs`); their key alone for a worker that has them from another job.
        level: Log records below this level are not collected.
        timeout_seconds: How long the step may take for one run, or None.
        inherited: What the worker gets from the program.
        reads: What the step reads from modules.
    """

    key: str
    packed: Pickled
    inputs: Any
    level: int
    timeout_seconds: float | None
    inherited: Inherited
    reads: ModuleReads


Known = tuple[Job, Callable[[], Step], AtRest, ModuleState]
"""A job, what makes its step for each attempt, its kwargs, and the globals that it reads."""


class Refusal(NamedTuple):
    """What goes back instead of outcomes if the execution must not go on.

    Attributes:
        message: For a person.
    """

    message: str


def serve(channel: Connection, recorder: Recorder) -> None:
    """Execute what comes through the channel.

    Each message is a job, or the key of one that came before, a parcel, and surroundings. What
    goes back is pickled outcomes, or the traceback of what kept the worker from executing the
    parcel.
    """
    jobs: dict[str, Known] = {}
    known: dict[str, AtRest] = {}
    while channel.poll(IDLE_SECONDS):
        recorder.note(NO_RUN)
        try:
            job, parcel, surroundings = unpickled(channel.recv_bytes())
            set_environment(surroundings)
            if isinstance(job, Job):
                if isinstance(job.inputs, Inputs):
                    known[job.inputs.key] = received(job.inputs)
                    job = job._replace(inputs=job.inputs.key)
                make_step, same = maker_of(job.packed)
                modules = ModuleState(job.reads, same)
                jobs[job.key] = (job, make_step, known[job.inputs], modules)
                job = job.key
            with surrounded(surroundings):
                _execute(channel, recorder, jobs[job], parcel)
        except (Exception, SystemExit):
            message = refusal()
            _send(channel, Refusal(message) if message else traceback.format_exc())


def _execute(
    channel: Connection,
    recorder: Recorder,
    known: Known,
    parcel: Parcel,
) -> None:
    job, make_step, kwargs, modules = known
    set_level(job.level)
    inherit(job.inherited)
    state, changed = ProcessState(), set[str]()

    @contextmanager
    def guard(place: int) -> Iterator[None]:
        try:
            with recorder.watching(place, job.timeout_seconds), prepared():
                modules.watch_before(kwargs, parcel[place].params)
                yield
        finally:
            state.restore()
            changed.update(modules.restore())

    for outcome in execute_packed(make_step, kwargs, parcel, guard):
        outcome.changed, changed = changed, set()
        _send(channel, outcome)


def _send(channel: Connection, value: Any) -> None:
    channel.send_bytes(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))


def main(channel: int, file: int, life: int) -> None:
    """Run a worker.

    Args:
        channel: Descriptor of the pipe to the parent.
        file: Descriptor of the recorder's file.
        life: Descriptor of a socket that tells the end of the parent by its own.
    """
    _end_with_parent(life)
    start_output()
    recorder = Recorder(file)
    recorder.start()
    with Connection(channel) as connection:
        try:
            serve(connection, recorder)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _end_with_parent(life: int) -> None:
    """End this process, and those that steps have started, if the fork server is there no more."""

    def wait() -> None:
        os.read(life, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, name="life line", daemon=True).start()
