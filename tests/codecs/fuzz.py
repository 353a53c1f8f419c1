"""Fuzz `decode` with mutated valid blobs: ``python -m tests.codecs.fuzz --cases 1000000``.

A case fails if anything but `CorruptData` is raised, if decoding imports, executes, opens or starts
anything, or if it takes more memory than the cap. A value that is decoded after all must be one
that `encode` takes and that comes back as the same bytes.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import warnings
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltraq_prefect import codecs
from mltraq_prefect.codecs.installed import import_installed
from mltraq_prefect.errors import CorruptData
from tests.codecs import mutations

MEMORY = 2 * 2**30
_FORBIDDEN = (
    "import",
    "exec",
    "compile",
    "open",
    "subprocess",
    "os.",
    "socket",
    "ctypes",
    "pickle",
    "marshal",
    "code.",
)
_ZONES = tuple(str(Path(path)) for path in zoneinfo.TZPATH)


class Guard:
    """An audit hook that, while armed, notes what a decoder must never do."""

    def __init__(self) -> None:
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.armed and event.startswith(_FORBIDDEN) and not _is_zone(event, arguments):
            self.seen.append(f"{event} {arguments!r}")

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Raise AssertionError if something forbidden happens inside."""
        self.armed = True
        try:
            yield
        finally:
            self.armed = False
        assert not self.seen, f"decoding did: {self.seen}"


def _is_zone(event: str, arguments: tuple[Any, ...]) -> bool:
    """Time zones that this machine knows are read from its database."""
    return event == "open" and str(arguments[0]).startswith(_ZONES)


def run(cases: int, seed: int) -> tuple[int, int]:
    """Decode so many mutations; return how many were refused, and how many were values."""
    rng = random.Random(seed)
    seeds = mutations.seeds()
    for blob in seeds:
        repr(codecs.decode(blob))  # imports what is imported late, for messages too
    import_installed()  # once, as a name that no codec has asks for it, whatever the name is
    guard = Guard()
    counts = [0, 0]
    for case in range(cases):
        blob = mutations.mutate(rng.choice(seeds), seeds, rng)
        try:
            counts[check(blob, guard)] += 1
        except BaseException:
            print(f"seed {seed}, case {case}: {blob!r}", file=sys.stderr)
            raise
    return counts[0], counts[1]


def check(blob: bytes, guard: Guard) -> bool:
    """Return whether the blob is a value; anything that must not happen is an exception."""
    try:
        with guard.watch():
            value = codecs.decode(blob)
    except CorruptData:
        return False
    again = codecs.decode(codecs.encode(value))
    assert codecs.encode(again) == codecs.encode(value), "a value that is not stable"
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    refused, valid = run(options.cases, options.seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{options.cases} cases: {refused} refused, {valid} values, peak memory {peak} MB")


if __name__ == "__main__":
    main()
