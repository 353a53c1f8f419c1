"""What an import has done: counts, and what could not be carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import NamedTuple

from mltraq_prefect.model.advance import Advance, unseen
from mltraq_prefect.texts import counted


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
        total: How many runs the other database has.
        experiments: Counts of each experiment.
        lost: How often something was not carried over, by what it is and why.
        advance: Gets how many runs are read, of how many.
    """

    tool: str
    source: str
    _: KW_ONLY
    total: int = 0
    experiments: list[Imported] = field(default_factory=list)
    lost: Counter[tuple[str, str]] = field(default_factory=Counter)
    advance: Advance = field(default=unseen, repr=False, compare=False)
    _read: int = field(default=0, init=False, repr=False, compare=False)

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
            yield (
                f"{own.name}: {counted(own.found, 'run')} found, {own.before:,} before, "
                f"{own.after:,} now"
            )
        for lost in self.not_carried:
            yield f"not carried over: {lost.number:,} x {lost.what} ({lost.why})"

    def __str__(self) -> str:
        return "\n".join([f"{self.tool}, {self.source}", *self.lines()])
