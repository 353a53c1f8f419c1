"""Calls of Ray's workers to the process of the flow, through an actor between them."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from mltraq_prefect.execution.fanout.calls import (
    PATIENCE_SECONDS,
    WAITING,
    Call,
    CallLost,
    Serve,
    told,
)

CALLERS = 10_000
"""Calls that the actor holds at the same time."""


class Exchange:
    """Holds requests until the process of the flow fetches them, and callers until it answers."""

    def __init__(self) -> None:
        self._requests: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(WAITING)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count()

    async def ask(self, request: bytes) -> bytes:
        """Return the answer to a request."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._requests.put((number, request))
            return await self._answers[number]
        finally:
            del self._answers[number]

    async def requests(self) -> list[tuple[int, bytes]]:
        """Return the requests that wait, at least one."""
        found = [await self._requests.get()]
        while not self._requests.empty():
            found.append(self._requests.get_nowait())
        return found

    async def answer(self, number: int, answer: bytes) -> None:
        """Answer a request."""
        if number in self._answers:
            self._answers[number].set_result(answer)


@dataclass(frozen=True, slots=True)
class RayCall:
    """Calls the process of a flow from a task.

    Attributes:
        exchange: Handle of the actor.
    """

    exchange: Any

    def __call__(self, request: bytes) -> bytes:
        """Send a request, and wait for the answer.

        Raises:
            CallLost: Nobody answers.
        """
        errors = importlib.import_module("ray.exceptions")
        # A task that waits by `ray.get` gives its CPU to another one.
        answer = self.exchange.ask.remote(request).future()
        try:
            return bytes(answer.result(PATIENCE_SECONDS))
        except errors.RayActorError:
            raise CallLost.by_end() from None
        except TimeoutError:
            raise CallLost.by_silence() from None


def answered(stack: ExitStack, _runner: Any, serve: Serve) -> Call:
    """Let workers call this process, until the stack closes."""
    ray = importlib.import_module("ray")
    strategies = importlib.import_module("ray.util.scheduling_strategies")
    here = ray.get_runtime_context().get_node_id()
    exchange = (
        ray.remote(Exchange)
        .options(
            num_cpus=0,
            max_concurrency=CALLERS,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(here, soft=True),
        )
        .remote()
    )
    stack.callback(ray.kill, exchange)
    receiver = threading.Thread(
        target=_receive, args=(ray, exchange, serve), name="mltraq calls", daemon=True
    )
    receiver.start()
    return RayCall(exchange)


def _receive(ray: Any, exchange: Any, serve: Serve) -> None:
    errors = importlib.import_module("ray.exceptions")
    while True:
        try:
            requests = ray.get(exchange.requests.remote())
        except errors.RayError:  # the execution has ended, or the task runs say what has
            return
        for number, request in requests:
            told(serve)(request, partial(exchange.answer.remote, number))
