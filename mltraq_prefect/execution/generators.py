"""Generators of random numbers that steps bring along, and that many runs would share."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mltraq_prefect.errors import InvalidStep

_KINDS = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)

_DEPTH = 4


def refuse_generators(subject: str, name: str, value: object) -> None:
    """Refuse a value that holds a generator of random numbers.

    Those of the modules `random` and `numpy.random` are none: each run has them seeded.

    Args:
        subject: Who reads the value, for a person, such as ``step 'train'``.
        name: The value for a person.
        value: Anything; containers are looked into.

    Raises:
        InvalidStep: It does.
    """
    for found in _generators(value, _DEPTH):
        kind = type(found)
        raise InvalidStep(
            f"{subject} draws from a {kind.__module__}.{kind.__qualname__} ({name}), whose numbers "
            "depend on which runs came before in the same process; draw from run.rng, which is "
            "seeded for each run and step, or make a generator inside the step from "
            "run.rng.integers(2**32)"
        )


def _generators(value: Any, depth: int) -> Iterator[object]:
    if _is_generator(value):
        yield value
    elif isinstance(value, Mapping) and depth:
        for item in list(dict(value).values()):
            yield from _generators(item, depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)) and depth:
        for item in list(value):
            yield from _generators(item, depth - 1)
    elif callable(value) and _is_generator(owner := getattr(value, "__self__", None)):
        yield owner


def _is_generator(value: object) -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, getattr(torch, "Generator", ())):
        return True
    if not isinstance(value, _KINDS) or isinstance(value, random.SystemRandom):
        return False
    return value is not getattr(random, "_inst", None) and value is not _of_numpy()


def _of_numpy() -> object:
    return getattr(getattr(np.random, "mtrand", None), "_rand", None)
