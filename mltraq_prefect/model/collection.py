"""Making many objects without pauses for Python's cyclic garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def uncollected(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a call returns, made while the garbage collector is off.

    The collector runs again and again while containers are made by the thousand, of which none can
    be garbage yet; for nested values it takes more time than the work itself.
    """
    if not gc.isenabled():
        return call(*args, **kwargs)
    gc.disable()
    try:
        return call(*args, **kwargs)
    finally:
        gc.enable()
