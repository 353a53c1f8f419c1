"""What decides the result of a step, and nothing else, as text that can be compared.

A fingerprint is ``<scheme>:<code>-<kwargs>-<seed>``. Its code part covers all of the user's own
code that a step reaches, with the values that this code reads, the versions of the distributions
that it imports, and that of Python; its kwargs part covers their exact values and the code that
these lead to. Both are made of parts with names, so that a difference can be named.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any

from mltraq_prefect.execution.fingerprints.manifest import (
    SCHEME,
    Manifest,
    ModuleReads,
    differences,
    fingerprint,
    has_other_code,
    split,
)
from mltraq_prefect.execution.fingerprints.reach import Reach
from mltraq_prefect.execution.fingerprints.runs import RunFingerprints
from mltraq_prefect.model.identity import Buffers

__all__ = [
    "SCHEME",
    "Manifest",
    "ModuleReads",
    "RunFingerprints",
    "differences",
    "fingerprint",
    "has_other_code",
    "manifest_of_kwargs",
    "manifest_of_step",
    "split",
]


def manifest_of_step(name: str, function: Any, buffers: Buffers | None = None) -> Manifest:
    """Return what decides the result of a step, except for kwargs and seed.

    Args:
        name: Name of the step.
        function: What is called.
        buffers: Encodes values of the types that can be stored.
    """
    reach = Reach(f"step {name!r}", buffers)
    while isinstance(function, functools.partial):
        for place, value in enumerate(function.args):
            reach.value(f"argument {place} given to {name}", value)
        for key, value in function.keywords.items():
            reach.value(f"value of {key} given to {name}", value)
        function = function.func
    if isinstance(function, types.MethodType):
        reach.value(f"object that {name} is a method of", function.__self__)
        function = function.__func__
    reach.value(f"code of step {name}", function)
    return reach.manifest()


def manifest_of_kwargs(kwargs: Mapping[str, Any], buffers: Buffers | None = None) -> Manifest:
    """Return the parts of kwargs: exact values, and the code that they lead to."""
    reach = Reach("an execution", buffers)
    for key, value in kwargs.items():
        reach.value(f"value of {key} in kwargs", value)
    return reach.manifest()
