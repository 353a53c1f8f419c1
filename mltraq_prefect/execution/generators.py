"""Generators of random numbers, and iterators, that steps bring along and many runs would share.

An iterator cannot be put back to where it was, so what a run gets of it would depend on which
runs came before. Open files do not count as iterators: they stay shared, as the file itself is.
"""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mltraq_prefect.errors import InvalidStep
from mltraq_prefect.execution.fingerprints.modules import owner_of

_OF_ITERATORS = frozenset(("builtins", "itertools", "collections", "_collections", "_csv"))

_GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)

_DEPTH = 4


def refuse_generators(subject: str, name: str, value: object) -> None:
    """Refuse a value that holds a generator of random numbers, or an iterator.

    The global generators of `random` and `numpy.random` are accepted: they are seeded for each run.

    Args:
        subject: What reads the value, for messages, such as ``step 'train'``.
        name: Description of the value, for messages.
        value: Any value; containers are searched.

    Raises:
        InvalidStep: It contains one.
    """
    for found in _generators(value, _DEPTH):
        kind = type(found)
        if not _is_generator(found):
            raise InvalidStep(
                f"{subject} reads from an iterator of type {kind.__qualname__} ({name}), whose "
                "position depends on which runs came before in the same process; give a list or "
                "another collection instead, or make the iterator inside the step"
            )
        raise InvalidStep(
            f"{subject} draws from a {kind.__module__}.{kind.__qualname__} ({name}), whose numbers "
            "depend on which runs came before in the same process; draw from run.rng, which is "
            "seeded for each run and step, or make a generator inside the step from "
            "run.rng.integers(2**32)"
        )


def _generators(value: Any, depth: int) -> Iterator[object]:
    if _is_one(value):
        yield value
    elif isinstance(value, Mapping) and depth:
        for item in list(dict(value).values()):
            yield from _generators(item, depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)) and depth:
        for item in list(value):
            yield from _generators(item, depth - 1)
    elif isinstance(value, types.FunctionType):
        return
    elif callable(value) and _is_one(owner := getattr(value, "__self__", None)):
        yield owner
    elif depth and not isinstance(value, type) and owner_of(type(value)) == "user":
        attributes = getattr(value, "__dict__", None)
        for item in list(attributes.values()) if isinstance(attributes, dict) else ():
            yield from (found for found in _generators(item, depth - 1) if _is_iterator(found))


def _is_one(value: object) -> bool:
    return _is_generator(value) or _is_iterator(value)


def _is_iterator(value: object) -> bool:
    return isinstance(value, Iterator) and type(value).__module__ in _OF_ITERATORS


def _is_generator(value: object) -> bool:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, getattr(torch, "Generator", ())):
        return True
    if not isinstance(value, _GENERATORS) or isinstance(value, random.SystemRandom):
        return False
    return value is not getattr(random, "_inst", None) and value is not _of_numpy()


def _of_numpy() -> object:
    return getattr(getattr(np.random, "mtrand", None), "_rand", None)
