"""The results of an experiment as a database gives them: in groups, in pages, in a sample."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.provenance.facts import Facts
    from mltraq_prefect.reports.numbers import Floats, Places
    from mltraq_prefect.reports.provenance.code import KnownCode

LARGEST = 1e150
"""Numbers beyond this, and those that are not finite, are left out of means.

Their squares have no place in a float, and some databases refuse to add them up.
"""

CORRUPT = "corrupt"
"""The attribute of a page: which of its runs have params that are corrupt, and seem missing."""

Operator = Literal["=", "<>", "<", "<=", ">", ">="]


class Column(NamedTuple):
    """A column of the view of an experiment.

    Attributes:
        name: Its name.
        key: The param or field that it is of, or the column of the ledger.
        source: What that is.
        kind: What its values are, such as ``float`` or ``text``.
        is_numeric: Whether they are numbers.
    """

    name: str
    key: str
    source: Literal["run", "param", "field", "ledger"]
    kind: str
    is_numeric: bool

    @property
    def is_state(self) -> bool:
        """Whether it has the states of runs."""
        return self.source == "ledger" and self.key == "state"


class Condition(NamedTuple):
    """A condition on a column; a missing value meets none, but is equal to None."""

    column: Column
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Moments:
    """A column of numbers in each group: shape (groups,).

    Attributes:
        count: Number of runs that have a value.
        mean: Their mean, NaN where there are none.
        variance: Their variance, NaN where there are fewer than two.
    """

    count: Places
    mean: Floats
    variance: Floats

    @property
    def error(self) -> Floats:
        """Standard errors of the means; NaN where there are fewer than two values."""
        import numpy as np

        with np.errstate(all="ignore"):
            return np.sqrt(self.variance / self.count)


@dataclass(frozen=True, slots=True)
class Grouped:
    """Runs that agree in some columns.

    Attributes:
        by: These columns.
        values: Their values, a tuple for each group.
        runs: Number of runs of each group.
        failed: How many of them have failed.
        metrics: Each metric by the name of its column.
        total: Number of groups of this part in the database, of which these may be some.
        part: The value that this part of the work has; None if nothing divides it.
        read: Number of runs that were read, of all parts.
    """

    by: Sequence[Column]
    values: Sequence[tuple[Any, ...]]
    runs: Places
    failed: Places
    metrics: Mapping[str, Moments]
    total: int
    part: Any
    read: int


class Curve(NamedTuple):
    """What the runs of a group have logged of a key.

    Attributes:
        group: Value of the column that makes the groups; None if there is none.
        steps: Steps, or where bins of them begin, in order.
        moments: The values that were logged there: shape (steps,).
        part: The value that this part of the work has; None if nothing divides it.
    """

    group: Any
    steps: Sequence[int]
    moments: Moments
    part: Any


class Curves(NamedTuple):
    """What runs have logged.

    Attributes:
        lines: Of each key those of the groups, in order.
        runs: Of how many runs they are that have logged something.
        is_whole: Whether these are all such runs.
        share: Which share of the rows of these is read.
    """

    lines: Mapping[str, Sequence[Curve]]
    runs: int
    is_whole: bool
    share: float


class Failure(NamedTuple):
    """A failed run.

    Attributes:
        id_run: Its id.
        params: Its params.
        step: The step that failed, if it is known.
        error: Traceback, or what ended the worker.
    """

    id_run: str
    params: Mapping[str, Any]
    step: str | None
    error: str


@dataclass(frozen=True, slots=True)
class StateTotal:
    """The runs of an experiment that are in one state.

    Attributes:
        runs: How many they are.
        total_s: Seconds of compute of all together; NaN if they were not added up.
        longest_s: Seconds of compute of the longest.
    """

    runs: int
    total_s: float
    longest_s: float


class Header(NamedTuple):
    """An experiment as a whole.

    Attributes:
        name: Its name.
        table: Name of the table of its runs.
        runs: Number of runs.
        states: Totals by state.
        created_at: First write (UTC).
        updated_at: Last write (UTC).
        revision: Number of writes.
        note: What people have said of it.
        tags: Its tags.
        read: Number of runs that are read: of too many, the last ones.
    """

    name: str
    table: str
    runs: int
    states: Mapping[str, StateTotal]
    created_at: datetime.datetime | None
    updated_at: datetime.datetime | None
    revision: int
    note: str
    tags: Mapping[str, str]
    read: int


class Origins(NamedTuple):
    """Where the results of an experiment come from.

    Attributes:
        executions: The latest executions, the latest last; large kwargs by reference.
        total: Number of all.
        known: Their code, by the digests in fingerprints.
    """

    executions: Sequence[Facts]
    total: int
    known: KnownCode


class Results(Protocol):
    """Reads the results of one experiment; each method is one transaction, or less.

    Attributes:
        corrupt: How many runs have been found whose params are corrupt; they are read as missing.
    """

    corrupt: int

    def header(self) -> Header:
        """Return the experiment as a whole."""
        ...

    def statement(self) -> str:
        """Return a statement for a person: params and numbers, one row a run."""
        ...

    def columns(self) -> Sequence[Column]:
        """Return the columns of its view."""
        ...

    def groups(
        self,
        by: Sequence[Column],
        metrics: Sequence[Column],
        *,
        part: Column | None = None,
        descending: bool = True,
        most: int = 20,
        parts: int = 12,
    ) -> Sequence[Grouped]:
        """Return the runs in groups, those with the best mean of the first metric first.

        Args:
            by: What the runs of a group have in common.
            metrics: What is averaged.
            part: Whose values divide the work; each has groups of its own.
            descending: Whether higher is better.
            most: How many groups of each part are returned.
            parts: How many parts, those with the most runs.
        """
        ...

    def sample(self, columns: Sequence[Column], most: int) -> pd.DataFrame:
        """Return the runs in order; about `most` of them, spread evenly, if there are more."""
        ...

    def page(
        self,
        columns: Sequence[Column],
        *,
        where: Sequence[Condition] = (),
        order: Column | None = None,
        descending: bool = False,
        start: int = 0,
        most: int = 50,
    ) -> tuple[pd.DataFrame, int]:
        """Return some runs in an order, and the number of all that meet the conditions."""
        ...

    def logged(self) -> Sequence[str]:
        """Return the keys of the series whose values are numbers."""
        ...

    def curves(
        self, keys: Sequence[str], by: Column | None, part: Column | None, most: int
    ) -> Curves:
        """Return means of what was logged, by step, in about `most` steps at most.

        Args:
            keys: What was logged.
            by: Whose values make the groups; None if all runs are one.
            part: Whose values divide the work; each has groups of its own.
            most: About how many steps there are at most; more are put in bins.
        """
        ...

    def failures(self, most: int) -> Sequence[Failure]:
        """Return failed runs in order."""
        ...

    def origins(self, most: int, also: Sequence[str] = ()) -> Origins:
        """Return the latest executions, and others that are asked for by their ids."""
        ...
