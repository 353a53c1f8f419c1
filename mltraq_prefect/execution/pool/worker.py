"""A worker process as its parent sees it."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.batch import Outcome, only_records
from mltraq_prefect.execution.copies import Pickled, pack
from mltraq_prefect.execution.inputs import Inputs, new_key, packed_kwargs
from mltraq_prefect.execution.logs import LogRecord
from mltraq_prefect.execution.pool.child import IDLE_SECONDS, Job, Refusal
from mltraq_prefect.execution.pool.crash_report import NO_RUN, Recorder
from mltraq_prefect.execution.pool.fork_server import END_SECONDS, fork_server
from mltraq_prefect.execution.pool.output import Output
from mltraq_prefect.execution.process_state import to_inherit
from mltraq_prefect.execution.serialization import Parcel
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.execution.surroundings import Surroundings
from mltraq_prefect.model.pickling import unpickled

LIVE_SECONDS = 1.0
"""What a step prints and logs is shown after so long at most."""

_NO_START = "no worker process could start"


class WorkerDied(Exception):
    """A worker process ended in the middle of a parcel.

    Attributes:
        place: Of the run that it executed, or `NO_RUN`.
        has_begun: Whether it had begun to work at all.
    """

    def __init__(self, reason: str, place: int, *, has_begun: bool = True) -> None:
        self.place = place
        self.has_begun = has_begun
        super().__init__(reason)


def make_job(
    step: Step, kwargs: Mapping[str, Any] | Inputs, level: int, timeout_seconds: float | None
) -> Job:
    """Pack a step for workers.

    Args:
        step: What to execute.
        kwargs: What runs get as `run.kwargs`, perhaps packed for several jobs.
        level: Log records below this level are not collected.
        timeout_seconds: How long the step may take for one run, or None.

    Raises:
        InvalidInput: The step or the kwargs hold something that cannot be sent to another process.
    """
    inputs = kwargs if isinstance(kwargs, Inputs) else packed_kwargs(kwargs, on_this_machine=True)
    buffers: list[Any] = []
    try:
        packed = Pickled(pack(step, buffers), [bytes(buffer.raw()) for buffer in buffers])
        return Job(new_key(), packed, inputs, level, timeout_seconds, to_inherit(), step.reads)
    except Exception as error:
        raise InvalidInput(
            f"step {step.name!r} cannot be sent to a worker process ({error}); "
            'create what it needs inside the step, or use backend="threads"'
        ) from None


class Worker:
    """One worker process, used by one thread at a time.

    Raises:
        WorkerDied: It could not start.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._idle_since = time.monotonic()
        with ExitStack() as stack:
            try:
                self._start(stack)
            except OSError as error:
                raise WorkerDied(f"{_NO_START}: {error}", NO_RUN, has_begun=False) from None
            self._resources = stack.pop_all()

    def _start(self, stack: ExitStack) -> None:
        self._channel, theirs = Pipe()
        stack.enter_context(self._channel)
        receiving, sending = os.pipe()
        self._output = Output(receiving)
        stack.callback(self._output.close)
        with theirs, os.fdopen(sending, "wb"):
            file = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
            self._recorder = Recorder(file.fileno())
            self._fork = fork_server.fork(sending, theirs.fileno(), file.fileno())
            stack.callback(self._fork.close)

    def is_ready(self) -> bool:
        """Return whether it surely has not ended for want of work, nor otherwise."""
        is_young = time.monotonic() - self._idle_since < IDLE_SECONDS / 2
        return is_young and self._fork.is_alive()

    def execute(
        self, job: Job, parcel: Parcel, surroundings: Surroundings | None
    ) -> Iterator[Outcome]:
        """Execute a job on the runs of a parcel, in surroundings.

        Raises:
            InvalidInput: A module of the step executes an experiment when it is imported.
            WorkerDied: The process ended before it had yielded all outcomes.
        """
        message = (self._as_known(job), parcel, surroundings)
        missing = len(parcel)
        try:
            self._channel.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))
            self._known |= {job.key, job.inputs.key}
            while missing:
                yield from self._shown_until_answer()
                answer = unpickled(self._channel.recv_bytes())
                if isinstance(answer, Refusal):
                    raise InvalidInput(answer.message)
                if isinstance(answer, str):
                    raise WorkerDied(f"a worker process cannot read this run:\n{answer}", NO_RUN)
                missing -= answer.count
                answer.records += self._written()
                yield answer
        except (EOFError, OSError):
            death = self._obituary(job)
            yield only_records(self._written())
            raise death from None
        self._idle_since = time.monotonic()

    def _as_known(self, job: Job) -> Job | str:
        """Return of a job what the worker does not have yet."""
        if job.key in self._known:
            return job.key
        is_known = job.inputs.key in self._known
        return job._replace(inputs=job.inputs.key) if is_known else job

    def _shown_until_answer(self) -> Iterator[Outcome]:
        """Wait for the worker, not for a process that a step has started and that outlives it."""
        shown = time.monotonic()
        while True:
            ready = self._ready(None if self._output.is_empty() else LIVE_SECONDS, self._channel)
            if self._channel in ready:
                return
            if self._fork.life in ready:
                raise EOFError
            if time.monotonic() - shown >= LIVE_SECONDS and not self._output.is_empty():
                shown = time.monotonic()
                yield only_records(self._output.take(last=False))

    def _ready(self, timeout: float | None, *channel: Connection) -> list[Any]:
        """Wait for the end of the process, its output, and the channel; take the output."""
        output = [] if self._output.has_ended() else [self._output.fileno()]
        ready = wait([self._fork.life, *output, *channel], timeout)
        self._output.receive()
        return ready

    def _written(self) -> list[LogRecord]:
        self._output.receive()
        return self._output.take(last=True)

    def end(self) -> None:
        """End the process and all that its steps have started; any thread may call it."""
        self._fork.end()

    def dismiss(self) -> None:
        """Let the process end by itself, as it has nothing more to do; does not wait."""
        self._channel.close()

    def close(self, until: float = 0.0) -> None:
        """End the process and give back what belongs to it.

        Args:
            until: A process that was dismissed may take until this time, of `time.monotonic`.
        """
        while (left := until - time.monotonic()) > 0 and self._fork.life not in self._ready(left):
            pass
        self.end()
        for record in self._written():
            logging.getLogger("mltraq_prefect").log(record.level, "%s", record.message)
        self._resources.close()

    def _obituary(self, job: Job) -> WorkerDied:
        code = self._fork.wait(END_SECONDS)
        if not self._recorder.has_begun():
            self._fork.check_server()
            reason = f"{_NO_START}; is there a limit on processes or memory?"
            return WorkerDied(reason, NO_RUN, has_begun=False)
        if self._recorder.timed_out():
            reason = f"exceeded timeout_seconds={job.timeout_seconds:g}; its worker was killed"
        else:
            reason = f"the worker process was ended by {_cause(code)}"
        stack = self._recorder.stack()
        where = f"\nWhere it was, innermost call first:\n{stack}" if stack else ""
        return WorkerDied(reason + where, self._recorder.place())


def _cause(code: int | None) -> str:
    if code is None:
        return "something that left no exit code"
    if code >= 0:
        return f"an exit with code {code}"
    if code == -signal.SIGKILL:
        return "SIGKILL, perhaps because the machine ran out of memory"
    return signal.Signals(-code).name
