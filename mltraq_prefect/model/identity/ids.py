"""Ids of runs."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mltraq_prefect.model.identity.canonical import Canonical

RUN_NAMESPACE = uuid.UUID("6d0f8f5e-2f0c-5b7e-9d55-6e1c7a0a4c11")

_STATE = hashlib.sha1(RUN_NAMESPACE.bytes, usedforsecurity=False)
"""What each id begins with; only copies of it are updated."""


class Ids:
    """Makes the ids of the runs of an experiment.

    Args:
        experiment: Its name.
    """

    def __init__(self, experiment: str) -> None:
        self._begin = f"[{json.dumps(experiment)}, "

    def of(self, key: str, replicate: int) -> str:
        """Return the id of a replicate of a run.

        Args:
            key: Canonical form of its params, or its `position_key`.
            replicate: How many runs of equal params come before it.
        """
        return self._id(json.dumps(key), replicate)

    def all(self, key: str) -> Iterator[str]:
        """Yield the ids of replicate 0, 1, 2, ... of a run.

        Args:
            key: Canonical form of its params, or its `position_key`.
        """
        return map(partial(self._id, json.dumps(key)), itertools.count())

    def _id(self, key: str, replicate: int) -> str:
        """Return a UUIDv5 (RFC 9562, section 5.5) as text; `uuid.uuid5` makes objects first."""
        state = _STATE.copy()
        state.update(f"{self._begin}{key}, {replicate}]".encode())
        digits = state.hexdigest()
        variant = "89ab"[int(digits[16], 16) & 3]
        return (
            f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
        )


def position_key(position: int) -> str:
    """Return what stands in for params that have no canonical form."""
    return f"position {position}"


def key_of(params: Mapping[str, Any], forms: Canonical) -> str | None:
    """Return the canonical form of params; None if they have none."""
    try:
        return forms.text(params)
    except TypeError:
        return None


def nameless(params: Mapping[str, Any], forms: Canonical) -> tuple[str, str]:
    """Return the first param that has no canonical form, and why."""
    for name, value in params.items():
        try:
            forms.text(value)
        except TypeError as error:
            return name, str(error)
    raise LookupError("all params have canonical forms")
