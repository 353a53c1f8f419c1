"""What an import has done: counts, and what could not be carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

Advance = Callable[[int, int], None]
"""Takes how much is done, and how much there is in all."""


class Imported(NamedTuple):
    """Counts of one experiment.

    Attributes:
        name: Its name here.
        found: Runs that the other database has of it.
        before: Runs that were stored here before.
        after: Runs that are stored here now.
    """

    name: str
    found: int
    before: int
    after: int


class NotCarried(NamedTuple):
    """Something that is not here now.

    Attributes:
        what: What it is.
        why: Why it could not be carried over.
        number: How many of these there are.
    """

    what: str
    why: str
    number: int


@dataclass
class ImportReport:
    """What an import has done.

    Attributes:
        tool: Which tracker the database is of.
        source: URL of its database, without secrets.
        experiments: Counts of each experiment.
        advance: Gets how many runs are read, of how many.
        total: How many runs the other database has.
    """

    tool: str
    source: str
    advance: Advance = field(repr=False, compare=False, default=lambda _done, _total: None)
    total: int = 0
    experiments: list[Imported] = field(default_factory=list)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    _read: int = 0

    @property
    def not_carried(self) -> list[NotCarried]:
        """What could not be carried over, and why."""
        return [NotCarried(*what, count) for what, count in self.lost.items()]

    def has_read(self, runs: int) -> None:
        """Count runs that were read, for who watches."""
        self._read += runs
        self.advance(self._read, max(self.total, self._read))

    def lose(self, what: str, why: str, count: int = 1) -> None:
        """Note what is not carried over."""
        if count:
            self.lost[what, why] += count

    def lines(self) -> Iterator[str]:
        """Yield the report as lines of text."""
        for own in self.experiments:
            yield f"{own.name}: {own.found:,} runs found, {own.before:,} before, {own.after:,} now"
        for lost in self.not_carried:
            yield f"not carried over: {lost.number:,} x {lost.what} ({lost.why})"

    def __str__(self) -> str:
        return "\n".join([f"{self.tool}, {self.source}", *self.lines()])
