"""What every benchmark gives: tables of lines, each with a ratio and its budget."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

CPU = time.process_time
"""For work of one thread on memory: what else the machine does counts less."""
WALL = time.perf_counter


Quoted = Literal["", "README", "speed.md"]


@dataclass(frozen=True)
class Line:
    """One measurement.

    Attributes:
        cells: What is shown: the work, then one cell a column.
        ratio: What is measured as a multiple of what it is compared with; None if with nothing.
        budget: Largest ratio that is allowed, if one is.
        quoted: The page that has its figures, if one has: README, whose are in docs/speed.md, too,
            or docs/speed.md alone.
    """

    cells: tuple[str, ...]
    ratio: float | None = None
    budget: float | None = None
    quoted: Quoted = ""

    @property
    def is_over(self) -> bool:
        """Whether it costs more than it may."""
        return self.ratio is not None and self.budget is not None and self.ratio > self.budget


@dataclass(frozen=True)
class Table:
    """Lines that are shown together, under a title and one heading a cell."""

    title: str
    headings: tuple[str, ...]
    lines: Sequence[Line]

    def show(self) -> None:
        """Print it."""
        rows = [(*self.headings, "ratio", "budget", "", "quoted in")]
        rows += [(*line.cells, *_verdict(line)) for line in self.lines]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        print(f"\n{self.title}")
        for first, *rest in rows:
            cells = [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
            print("  ".join([first.ljust(widths[0]), *cells]).rstrip())


def _verdict(line: Line) -> tuple[str, str, str, str]:
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    budget = "" if line.budget is None else f"{line.budget:g}"
    return ratio, budget, "over" if line.is_over else "", line.quoted


def fastest(
    *calls: Callable[[], Any], repeats: int = 5, clock: Callable[[], float] = CPU
) -> list[float]:
    """Return the least seconds of each call; they take turns, so that noise hits all alike.

    What the benchmark itself holds is hidden from the garbage collector, which would slow down
    whoever makes many objects beside it.
    """
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            gc.collect()
            gc.freeze()
            start = clock()
            result = call()
            best[i] = min(best[i], clock() - start)
            del result
            gc.unfreeze()
    return best


def by_turns(
    *calls: Callable[[], Any], turns: int, clock: Callable[[], float] = CPU
) -> list[float]:
    """Return the median seconds of each call, all of which are made again and again in turn.

    So what takes microseconds finds the processor's caches as somebody else has left them, as it
    does in a program, which does not make the same call twenty times on end.
    """
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(turns):
        for own, call in zip(spent, calls, strict=True):
            start = clock()
            result = call()
            own.append(clock() - start)
            del result
    return list(map(statistics.median, spent))


def repeats_for(runs: int, values: int) -> int:
    """Return how often to repeat a tracking workload: what takes milliseconds, more often."""
    return 10 if runs * values <= 10_000 else 3


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


def in_seconds(seconds: float) -> str:
    return f"{seconds:,.2f} s"


def cells(values: Iterable[Any], form: Callable[[float], str]) -> tuple[str, ...]:
    """Return the cells of some figures; text, which says why there is no figure, as it is."""
    return tuple(value if isinstance(value, str) else form(value) for value in values)
