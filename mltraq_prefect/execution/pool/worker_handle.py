"""A worker process as its parent sees it."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.batch import Outcome, outcome_of_records
from mltraq_prefect.execution.frozen_values import Pickled, dumps
from mltraq_prefect.execution.inputs import Inputs, new_key, pickled_kwargs
from mltraq_prefect.execution.judge import Verdict
from mltraq_prefect.execution.lazy_context import LazyContext
from mltraq_prefect.execution.logs import LogRecord
from mltraq_prefect.execution.pool.child import IDLE_SECONDS, Job, Refusal
from mltraq_prefect.execution.pool.crash_report import NO_RUN, Recorder
from mltraq_prefect.execution.pool.fork_server import END_SECONDS, fork_server
from mltraq_prefect.execution.pool.output import Output
from mltraq_prefect.execution.process_state import to_inherit
from mltraq_prefect.execution.run_logs import Logs, with_logs
from mltraq_prefect.execution.serialization import Chunk
from mltraq_prefect.execution.steps import Step
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.spool import Spool

OUTPUT_SECONDS = 1.0
"""Interval at which printed and logged lines are shown, in seconds."""

_NO_START = "no worker process could start"


class WorkerDied(Exception):
    """A worker process ended in the middle of a chunk.

    Attributes:
        index: Index of the run that it executed, or `NO_RUN`.
        has_begun: Whether it had started to work at all.
        logs: What runs have logged and printed in it, if that is kept.
    """

    def __init__(self, reason: str, index: int, *, has_begun: bool = True) -> None:
        self.logs: Logs = {}
        self.index = index
        self.has_begun = has_begun
        super().__init__(reason)


def make_job(
    step: Step,
    kwargs: Mapping[str, Any] | Inputs,
    level: int,
    timeout_seconds: float | None,
) -> Job:
    """Pickle a step for workers.

    Args:
        step: The step.
        kwargs: Kwargs of the execution, perhaps pickled for several jobs.
        level: Log records below this level are not collected.
        timeout_seconds: Limit for one run, in seconds, or None.

    Raises:
        InvalidInput: The step or the kwargs cannot be pickled.
    """
    inputs = kwargs if isinstance(kwargs, Inputs) else pickled_kwargs(kwargs, on_this_machine=True)
    buffers: list[Any] = []
    try:
        pickled = Pickled(dumps(step, buffers), [bytes(buffer.raw()) for buffer in buffers])
        inherited = to_inherit()
        return Job(new_key(), pickled, inputs, level, timeout_seconds, inherited, step.reads)
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
        self._sent: set[str] = set()
        self._spools: dict[str, Spool] = {}
        self._sending = threading.Lock()
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
        """Return whether it is alive, and was not idle for so long that it may end now."""
        is_young = time.monotonic() - self._idle_since < IDLE_SECONDS / 2
        return is_young and self._fork.is_alive()

    def execute(
        self, job: Job, chunk: Chunk, lazy_context: LazyContext | None
    ) -> Iterator[Outcome]:
        """Execute a job on the runs of a chunk, in a context.

        Raises:
            InvalidInput: A module of the step executes an experiment when it is imported.
            WorkerDied: The process ended before it had yielded all outcomes.
        """
        message = (self._message_for(job), chunk, lazy_context)
        missing = len(chunk)
        try:
            self._send(message)
            self._sent |= {job.key, job.inputs.key}
            while missing:
                yield from self._output_until_answer()
                answer = unpickled(self._channel.recv_bytes())
                if isinstance(answer, Refusal):
                    raise InvalidInput(answer.message)
                if isinstance(answer, str):
                    raise WorkerDied(f"a worker process cannot read this run:\n{answer}", NO_RUN)
                missing -= answer.count
                answer.reply = self._reply
                answer.records += self._output_so_far(is_final=answer.count > 0)
                if job.files is not None and job.files.keeps_logs and answer.count:
                    answer = with_logs(answer, job.name, self._output.take_logs(), job.files)
                yield answer
        except (EOFError, OSError):
            death = self._death(job)
            yield outcome_of_records(self._output_so_far(is_final=True))
            death.logs = self._output.take_logs()
            raise death from None
        self._idle_since = time.monotonic()

    def _send(self, message: object) -> None:
        with self._sending:
            self._channel.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    def _reply(self, verdict: Verdict) -> None:
        """Send a decision, unless the process has gone; any thread may call it."""
        with suppress(OSError):
            self._send(verdict)

    def _message_for(self, job: Job) -> Job | str:
        """Return the part of a job that the worker does not have yet."""
        if job.key in self._sent:
            return job.key
        if job.files is not None:
            spool = job.files.spool
            own = self._spools.setdefault(spool.folder, spool.of_worker())
            job = job._replace(files=job.files._replace(spool=own))
        is_sent = job.inputs.key in self._sent
        return job._replace(inputs=job.inputs.key) if is_sent else job

    def _output_until_answer(self) -> Iterator[Outcome]:
        """Yield output until the worker answers; processes that outlive it are not waited for."""
        shown = time.monotonic()
        while True:
            ready = self._ready(None if self._output.is_empty() else OUTPUT_SECONDS, self._channel)
            if self._channel in ready:
                return
            if self._fork.liveness in ready:
                raise EOFError
            if time.monotonic() - shown >= OUTPUT_SECONDS and not self._output.is_empty():
                shown = time.monotonic()
                yield outcome_of_records(self._output.take(last=False))

    def _ready(self, timeout: float | None, *channel: Connection) -> list[Any]:
        """Wait for the end of the process, output, or an answer; receive the output."""
        output = [] if self._output.has_ended() else [self._output.fileno()]
        ready = wait([self._fork.liveness, *output, *channel], timeout)
        self._output.receive()
        return ready

    def _output_so_far(self, *, is_final: bool) -> list[LogRecord]:
        self._output.receive()
        return self._output.take(last=is_final)

    def end(self) -> None:
        """End the process and all that its steps have started; any thread may call it."""
        self._fork.end()

    def dismiss(self) -> None:
        """Let the process end by itself; do not wait."""
        self._channel.close()

    def close(self, until: float = 0.0) -> None:
        """End the process and free its resources.

        Args:
            until: Deadline for a process that was dismissed, in terms of `time.monotonic`.
        """
        while (left := until - time.monotonic()) > 0 and self._fork.liveness not in self._ready(
            left
        ):
            pass
        self.end()
        for record in self._output_so_far(is_final=True):
            logging.getLogger("mltraq_prefect").log(record.level, "%s", record.message)
        self._resources.close()
        for spool in self._spools.values():
            spool.drop_drafts()

    def _death(self, job: Job) -> WorkerDied:
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
        return WorkerDied(reason + where, self._recorder.index())


def _cause(code: int | None) -> str:
    if code is None:
        return "something that left no exit code"
    if code >= 0:
        return f"an exit with code {code}"
    if code == -signal.SIGKILL:
        return "SIGKILL, perhaps because the machine ran out of memory"
    return signal.Signals(-code).name
