"""Who tells a busy server something is waited for once, however many there are."""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mltraq_prefect.orchestration.telling import leave


class Teller(threading.Thread):
    """Tells a server that answers when it is let go; knows how it is waited for."""

    def __init__(self, answered):
        super().__init__(target=answered.wait, daemon=True)
        self.waited = []
        self.start()

    def join(self, timeout=None):
        self.waited.append(timeout)
        super().join(timeout)


def test_a_server_that_keeps_one_waiting_is_not_waited_for_by_others():
    busy, free = threading.Event(), threading.Event()
    free.set()
    first, second, third = Teller(busy), Teller(busy), Teller(free)
    try:
        assert not leave(first, 0.01)
        assert not leave(second, 60)
        assert (first.waited, second.waited) == ([0.01], [])
    finally:
        busy.set()
    threading.Thread.join(first, 60)
    threading.Thread.join(second, 60)
    assert leave(third, 60)
    assert third.waited == [60]


@pytest.fixture
def switching():
    """Threads that are switched as often as that goes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_leave_what_they_tell_at_the_same_time(switching):
    busy = threading.Event()
    try:
        with ThreadPoolExecutor(8) as threads:
            heard = [*threads.map(lambda _: leave(Teller(busy), 0), range(200))]
        assert not any(heard)
    finally:
        busy.set()
