"""Whether the workers of a cluster have this package: without it, batches would wait for ever.

A worker is asked with nothing but Python's own functions, which every worker has.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.orchestration.runners import AnyRunner, cluster_of
from mltraq_prefect.texts import first_line
from mltraq_prefect.version import VALUES_FORMAT, __version__

LOOK_SECONDS = 1.0
"""Interval at which the execution looks for workers that have come later."""

ANSWER_SECONDS = 60.0
"""So long a node of a Ray cluster is waited for at first: it may have to start a process."""

OTHERS_SECONDS = 10.0
"""So long the others are waited for when the first one has answered."""

_HAS = (
    "(lambda found: [found.__version__, found.VALUES_FORMAT])"
    "(__import__('importlib').import_module('mltraq_prefect.version'))"
)
"""Expression for the version of the package, and that of the format of values."""

Ask = Callable[[Any, set[str]], Mapping[str, tuple[str, Any]]]
"""Asks the workers that are not among these; returns address and answer, or exception, by id."""


class ClusterWorkers:
    """The workers that are known to have this package.

    Args:
        runner: The started task runner; nothing is known of one of an unknown type.
    """

    def __init__(self, runner: AnyRunner) -> None:
        self._runner = runner
        make = _ASKING.get(cluster_of(runner) or "")
        self._ask = None if make is None else make()
        self._known: set[str] = set()
        self._due = 0.0

    def check(self) -> None:
        """Refuse a worker that cannot execute batches; called again, those that came later.

        Raises:
            InvalidInput: A worker has no package, or another version of it.
        """
        if self._ask is None or time.monotonic() < self._due:
            return
        try:
            answers = self._ask(self._runner, self._known)
        except OSError:  # nobody is there: the first task that is submitted tells of that
            return
        for worker, (address, answer) in answers.items():
            if isinstance(answer, OSError):  # it has just gone, or is asked again
                continue
            if answer != [__version__, VALUES_FORMAT]:
                raise InvalidInput(self._refusal(address, answer))
            self._known.add(worker)
        self._due = time.monotonic() + LOOK_SECONDS

    def _refusal(self, address: str, answer: Any) -> str:
        where = f"the worker {address} of the {type(self._runner).__name__}"
        how = f"install mltraq_prefect=={__version__} where it runs"
        if isinstance(answer, ImportError):
            return f"{where} cannot import mltraq_prefect ({answer}): {how}"
        if isinstance(answer, _Ended):
            return (
                f"{where} has ended when it was given a task: its log says why. If it cannot "
                f"import mltraq_prefect, {how}; else it may have been killed, as for want of memory"
            )
        if isinstance(answer, BaseException):
            return f"{where} cannot be used: {type(answer).__name__}: {first_line(answer)}"
        version, form = answer
        return (
            f"{where} has mltraq_prefect {version} with values of format {form}, and this process "
            f"has {__version__} with format {VALUES_FORMAT}: {how}"
        )


class _Ended(Exception):
    """A worker has ended when it was given a task, before it could be asked."""


class _DaskWorkers:
    """Asks the workers of a Dask cluster, each once.

    A worker that comes while tasks wait is given them at once. One that cannot read them ends: it
    is not there any more when it would be asked, and only the scheduler's events tell of it.
    """

    def __init__(self) -> None:
        self._before: frozenset[str] | None = None

    def __call__(self, runner: Any, known: set[str]) -> Mapping[str, tuple[str, Any]]:
        client = runner.client
        if self._before is None:
            self._before = frozenset(_ended(client))
        here = client.scheduler_info(n_workers=-1)["workers"]
        if not here:  # else the others go on
            gone = [own for at, own in _ended(client).items() if at not in self._before]
            return {own: (own, _Ended()) for own in gone if own not in known}
        new = [each for each in here if each not in known]
        answers = client.run(eval, _HAS, workers=new, on_error="return") if new else {}
        return {address: (address, answer) for address, answer in answers.items()}


def _ended(client: Any) -> dict[str, str]:
    """Return the workers that ended while they had tasks, by the event that tells of it."""
    events = (event for _, event in client.get_events("all"))
    return {
        event["stimulus_id"]: event["worker"]
        for event in events
        if event.get("action") == "remove-worker" and event.get("processing-tasks")
    }


class _RayNodes:
    """Asks the nodes of a Ray cluster, each once.

    Batches wait for the first answers, but not for a node that comes later, or has no time.
    """

    def __init__(self) -> None:
        self._asked: dict[str, tuple[str, Any]] = {}
        self._seconds = ANSWER_SECONDS

    def __call__(self, _runner: Any, known: set[str]) -> Mapping[str, tuple[str, Any]]:
        ray = importlib.import_module("ray")
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        for node_id in alive.keys() - known - self._asked.keys():
            address = str(alive[node_id]["NodeManagerAddress"])
            self._asked[node_id] = address, _asked_of(ray, node_id)
        waiting = [reference for _, reference in self._asked.values()]
        if not waiting:
            return {}
        ray.wait(waiting, num_returns=1, timeout=self._seconds)
        seconds, self._seconds = min(self._seconds, OTHERS_SECONDS), 0.0
        ready, _ = ray.wait(waiting, num_returns=len(waiting), timeout=seconds)
        answered = [key for key, (_, reference) in self._asked.items() if reference in ready]
        asked = {key: self._asked.pop(key) for key in answered}
        return {key: (address, _answer(ray, found)) for key, (address, found) in asked.items()}


def _asked_of(ray: Any, node_id: str) -> Any:
    """Ask a node; return a reference to its answer."""
    strategies = importlib.import_module("ray.util.scheduling_strategies")
    here = strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
    ask = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(_look())
    return ask.remote()


def _look() -> Callable[[], Any]:
    """Return a function that is sent by value: the worker may have no module of ours."""
    code = compile(f"lambda: {_HAS}", "<look>", "eval")
    look: Callable[[], Any] = eval(code, {"__name__": "__main__"})  # noqa: S307
    return look


def _answer(ray: Any, reference: Any) -> Any:
    errors = importlib.import_module("ray.exceptions")
    try:
        return ray.get(reference)
    except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
        return getattr(error, "cause", None) or error
    except errors.RayError as error:
        return OSError(f"the node has gone: {error}")


_ASKING: Mapping[str, Callable[[], Ask]] = {"dask": _DaskWorkers, "ray": _RayNodes}
