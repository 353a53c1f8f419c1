"""A Prefect server that has no time for its clients while a test holds it."""

import contextlib
import re
import threading

import httpx
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.contract.proxy import Proxy

WRITING = re.compile(rb"(POST|PUT|PATCH|DELETE) (?!\S*/filter )")
"""How a request to write begins; filters are read with POST."""

SECONDS = 90


class BusyServer(Proxy):
    """A Prefect server that writes nothing for its clients while it is held; reading works.

    Attributes:
        url: By which it is reached.
        asked: How many requests to write it has got while it was held.
    """

    def __init__(self, url):
        direct = httpx.URL(url)
        super().__init__(direct.host, direct.port)
        self.url = str(direct.copy_with(port=self.port))
        self.asked = 0
        self._free = threading.Event()
        self._free.set()

    @contextlib.contextmanager
    def held(self):
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def _forward(self, client, server, answers):
        while sent := client.recv(65536):
            if WRITING.match(sent) and not self._free.is_set():
                self.asked += 1
                assert self._free.wait(SECONDS), "nobody lets the server go on"
            server.sendall(sent)


@contextlib.contextmanager
def busy_server():
    """Let this process reach the server of the tests through one that can be held."""
    with (
        BusyServer(PREFECT_API_URL.value()) as server,
        temporary_settings({PREFECT_API_URL: server.url}),
    ):
        yield server
