"""Fingerprints of steps in single runs: the params of a run may lead to code, too.

A run whose params hold a function, a class or an object of the user's gets a fourth part, made of
the code that they lead to and the versions of the distributions that this is from. What the params
are is not in it: that is what the run's id says.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Mapping
from typing import Any

from mltraq_prefect.execution.fingerprints.manifest import PYTHON, Manifest, ModuleReads, split
from mltraq_prefect.execution.fingerprints.reach import Reach
from mltraq_prefect.model.identity import Buffers
from mltraq_prefect.model.ledger_entry import LedgerEntry

_NUMBERS = (bool, int, float, complex, decimal.Decimal)
_TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)
_IMMUTABLE = frozenset((type(None), str, bytes, uuid.UUID, range, slice, *_NUMBERS, *_TIMES))
_DATA = frozenset(("numpy", "pandas"))
_NOTHING: Mapping[str, str] = {}


class RunFingerprints:
    """The fingerprints of the steps of an execution in each of its runs.

    Args:
        steps: Fingerprints of the steps by name.
        buffers: Encodes values of the types that can be stored.

    Attributes:
        manifests: What the parts of params were made of, by digest.
        reads: What the code that params lead to reads from modules.
    """

    def __init__(self, steps: Mapping[str, str], buffers: Buffers | None = None) -> None:
        self._steps = steps
        self._buffers = buffers
        self._known: dict[int, tuple[Any, Mapping[str, str]]] = {}
        self.manifests: dict[str, Manifest] = {}
        self.reads = ModuleReads()

    def of(self, step: str, params: Mapping[str, Any]) -> str:
        """Return the fingerprint of a step in a run with these params."""
        digest = self.follow(params)
        return f"{self._steps[step]}-{digest}" if digest else self._steps[step]

    def is_same(self, step: str, params: Mapping[str, Any], before: str | None) -> bool:
        """Return whether a step would give the result that one with a stored fingerprint gave.

        Params that were read from the database may be names of the code that they stand for.
        """
        if before is None:
            return False
        digest = self.follow(params)
        same = self._steps[step]
        return before == f"{same}-{digest}" if digest else same in (before, _bare(before))

    def stamp(self, ledger: LedgerEntry, params: Mapping[str, Any]) -> None:
        """Put what params lead to into what the ledger says of the steps of this execution."""
        stamp(ledger, self._steps, self.follow(params))

    def follow(self, params: Mapping[str, Any]) -> str:
        """Return the digest of the code that params lead to, or nothing if they are mere data."""
        parts: dict[str, str] = {}
        for name, value in dict(params).items():  # a param may be named items
            parts |= self.reach(name, value)
        if not parts:
            return ""
        manifest = Manifest(parts)
        return self.manifests.setdefault(manifest.digest, manifest).digest

    def reach(self, name: str, value: Any) -> Mapping[str, str]:
        """Return what the value of a param leads to; what that reads is in `reads` from now on."""
        if type(value) in _IMMUTABLE or _is_data(value):
            return _NOTHING
        if id(value) not in self._known:
            reach = Reach(f"param {name!r}", self._buffers)
            reach.value("value", value)
            manifest = reach.manifest()
            self.reads = self.reads.with_those(manifest.reads)
            parts = dict(manifest.parts)
            del parts["value"], parts[PYTHON]
            self._known[id(value)] = value, parts
        return self._known[id(value)][1]


def stamp(ledger: LedgerEntry, steps: Mapping[str, str], digest: str) -> None:
    """Put what params lead to into what the ledger says of steps.

    Args:
        ledger: The ledger entry of a run.
        steps: Fingerprints of the steps by name.
        digest: What `RunFingerprints.follow` says of the params of the run.
    """
    for step, fingerprint in steps.items() if digest else ():
        if step in ledger.steps:
            ledger.steps[step] = f"{fingerprint}-{digest}"
        if step in ledger.executed:
            ledger.executed[step].fingerprint = f"{fingerprint}-{digest}"


def _is_data(value: Any) -> bool:
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return all(type(item) in _IMMUTABLE or _is_data(item) for item in value)
    if kind is dict:
        return all(type(item) in _IMMUTABLE or _is_data(item) for item in value.values())
    return kind in _IMMUTABLE or kind.__module__.partition(".")[0] in _DATA


def _bare(fingerprint: str) -> str:
    """Return a fingerprint without what params lead to."""
    found = split(fingerprint)
    return f"{found.scheme}:{found.code}-{found.kwargs}-{found.seed}"
