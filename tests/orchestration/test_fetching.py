"""Results stay on the workers of a cluster until the flow has taken those before."""

import queue
import threading

from mltraq_prefect.execution.fanout.executed import Executed
from mltraq_prefect.orchestration.task_executor import FETCHING, Fetching, TaskRun
from tests.polling import poll


class Ended:
    """A future of a task run that has ended."""

    task_run_id = "1"

    def __init__(self, fetched):
        self._fetched = fetched

    def result(self, **_options):
        self._fetched.append(self)
        return Executed([])


def begun(count):
    """Return what gets results, those that were fetched, and a queue of those that have come."""
    fetching, fetched, come = Fetching(), [], queue.SimpleQueue()
    for task_run in [TaskRun(Ended(fetched)) for _ in range(count)]:
        fetching.fetch(task_run, lambda own=task_run: come.put(own))
    return fetching, fetched, come


def waiting():
    return [each for each in threading.enumerate() if each.name.startswith("mltraq results")]


def test_few_results_wait_for_the_flow():
    fetching, fetched, come = begun(50)
    for number in range(50):
        task_run = come.get(timeout=180)
        assert len(fetched) <= number + FETCHING
        assert task_run.result() == Executed([])
    fetching.close()
    assert len(fetched) == 50


def test_when_the_execution_ends_nobody_waits_any_longer():
    fetching, fetched, come = begun(50)
    assert poll(come.qsize, lambda size: size >= FETCHING)
    fetching.close()
    assert poll(waiting, lambda threads: not threads) == []
    assert len(fetched) == FETCHING
