"""Waiting for what others do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def poll(read: Callable[[], T], until: Callable[[T], bool], seconds: float = 180) -> T:
    """Read until the value is as it should be; the last value if it never is."""
    end = time.monotonic() + seconds
    while not until(value := read()) and time.monotonic() < end:
        time.sleep(0.1)
    return value
