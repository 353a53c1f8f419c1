"""Workers of a Dask call the process of the flow."""

import logging
from contextlib import ExitStack
from types import SimpleNamespace

from mltraq_prefect.orchestration import dask_calls


def serve(request, answer):
    if request == b"bad":
        raise OSError("the disk of the flow is gone")
    answer(request.upper())


def test_a_request_that_cannot_be_served_is_told_of_and_ends_no_other(cluster, caplog):
    with cluster.get_client() as client, ExitStack() as stack:
        call = dask_calls.answered(stack, SimpleNamespace(client=client), serve)
        with caplog.at_level(logging.ERROR, "mltraq_prefect"):
            in_vain = client.submit(call, b"bad")
            assert client.submit(call, b"good").result(60) == b"GOOD"
            in_vain.cancel()
    assert "the disk of the flow is gone" in caplog.text
