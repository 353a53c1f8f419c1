"""What starts a Prefect server on this machine: what it says of a server that does not serve."""

import http.server
import threading
from contextlib import contextmanager

import httpx
import pytest

from deployments import local
from deployments.local import LocalPrefect


class Busy(http.server.BaseHTTPRequestHandler):
    """Says that it is busy, whatever it is asked."""

    def do_POST(self):
        self.send_error(503)

    def log_message(self, *_):
        """Tell nobody."""


@contextmanager
def busy_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_a_server_that_stays_busy_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(local, "BUSY_SECONDS", 0.1)
    with busy_server() as port, pytest.raises(httpx.HTTPStatusError, match="503"):
        LocalPrefect(tmp_path, port).is_idle()


def test_a_program_that_fails_is_told_with_what_it_has_written(tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)the preparation failed:.*ValueError: no database"):
        LocalPrefect(tmp_path).python(
            "-c", "raise ValueError('no database')", called="the preparation"
        )
