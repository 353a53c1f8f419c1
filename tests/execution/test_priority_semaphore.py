"""The lowest priority value goes first, then who came first; no permit is ever lost."""

import ctypes
import threading

import pytest

from mltraq_prefect.execution.pool.priority_semaphore import PrioritySemaphore
from tests.polling import poll


def start(semaphore, priority, name, order, leave):
    def wait():
        with semaphore.acquired(priority):
            order.append(name)
            leave.acquire()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def arrive(semaphore, priorities, order, leave):
    """Start threads, one after the other, that wait for a turn."""
    threads = []
    for name, priority in enumerate(priorities):
        threads.append(start(semaphore, priority, name, order, leave))
        poll(lambda: len(semaphore._waiting) + len(order), len(threads).__eq__)
    return threads


@pytest.mark.parametrize(
    ("priorities", "expected"),
    [([0, 0, 0, 0], [0, 1, 2, 3]), ([0, 0, -1, -1, 0, -2], [0, 5, 2, 3, 1, 4])],
)
def test_the_lowest_rank_goes_first_then_who_came_first(priorities, expected):
    semaphore, order, leave = PrioritySemaphore(1), [], threading.Semaphore(0)
    threads = arrive(semaphore, priorities, order, leave)
    for _ in priorities:
        leave.release()
    for thread in threads:
        thread.join(180)
    assert order == expected


def test_as_many_as_there_are_places():
    semaphore, order, leave = PrioritySemaphore(2), [], threading.Semaphore(0)
    threads = arrive(semaphore, [0] * 5, order, leave)
    assert sorted(order) == [0, 1]
    for _ in threads:
        leave.release()
    for thread in threads:
        thread.join(180)
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert semaphore._free == 2


class Interrupted(BaseException):
    pass


def test_who_is_interrupted_while_it_waits_takes_no_place():
    semaphore, order, leave = PrioritySemaphore(1), [], threading.Semaphore(0)
    (first,) = arrive(semaphore, [0], order, leave)

    def wait():
        try:
            with semaphore.acquired(0):
                order.append("never")
        except Interrupted:
            order.append("interrupted")

    second = threading.Thread(target=wait, daemon=True)
    second.start()
    poll(lambda: len(semaphore._waiting), (1).__eq__)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(second.ident), ctypes.py_object(Interrupted)
    )
    leave.release()
    for thread in (first, second):
        thread.join(180)
    assert order == [0, "interrupted"]
    assert (semaphore._free, semaphore._waiting) == (1, [])
