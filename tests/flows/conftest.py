"""The flows of the examples, on a machine with a core."""

import pytest

from tests.processes import on_one_core


@pytest.fixture
def one_core():
    with on_one_core():
        yield
