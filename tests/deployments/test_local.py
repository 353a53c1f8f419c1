"""What starts a Prefect server on this machine: what it says of a server that does not serve."""

import httpx
import pytest

from deployments import local
from deployments.local import LocalPrefect
from tests.refusing import refusing_server


def test_a_server_that_stays_busy_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(local, "BUSY_SECONDS", 0.1)
    with refusing_server(503) as port, pytest.raises(httpx.HTTPStatusError, match="503"):
        LocalPrefect(tmp_path, port).is_idle()


def test_a_program_that_fails_is_told_with_what_it_has_written(tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)the preparation failed:.*ValueError: no database"):
        LocalPrefect(tmp_path).python(
            "-c", "raise ValueError('no database')", called="the preparation"
        )
