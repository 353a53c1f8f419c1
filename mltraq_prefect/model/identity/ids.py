"""Ids of runs."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from mltraq_prefect.model.identity.canonical import Canonical

RUN_NAMESPACE = uuid.UUID("6d0f8f5e-2f0c-5b7e-9d55-6e1c7a0a4c11")


def run_ids(experiment: str, key: str) -> Iterator[str]:
    """Yield the ids of replicate 0, 1, 2, ... of a run.

    Args:
        experiment: Name of the experiment.
        key: Canonical form of its params, or its `position_key`.
    """
    for replicate in itertools.count():
        yield str(uuid.uuid5(RUN_NAMESPACE, json.dumps([experiment, key, replicate])))


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
