"""Who tells a busy server something is waited for once, however many there are."""

import threading

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
