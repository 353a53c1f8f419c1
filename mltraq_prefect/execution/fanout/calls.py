"""Calls of workers on other machines to the process of the execution."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

_logger = logging.getLogger("mltraq_prefect")

Call = Callable[[bytes], bytes]
"""Sends a request to the process of the execution, and returns its answer; it can be pickled."""

Answer = Callable[[bytes], None]

Serve = Callable[[bytes, Answer], None]
"""Takes a request in the process of the execution; what it is given with it sends the answer."""


WAITING = 64
"""Most requests that wait for the process of the execution; who has another one waits."""

PATIENCE_SECONDS = 600.0
"""So long a worker waits for a flow that hangs, or for its database."""


def told(function: Callable[P, object]) -> Callable[P, None]:
    """Return a function whose errors are logged: nobody waits for what its thread returns."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            _logger.exception("a request of a worker of the cluster is not answered")

    return call


class CallLost(Exception):
    """The process of the execution does not answer: it has ended, or hangs."""

    @classmethod
    def by_end(cls) -> CallLost:
        """Return the error for an execution that has ended."""
        return cls("the execution has ended")

    @classmethod
    def by_silence(cls) -> CallLost:
        """Return the error for a process that has not answered for as long as workers wait."""
        return cls(f"the process of the flow has not answered for {PATIENCE_SECONDS:g} seconds")
