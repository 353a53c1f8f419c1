"""The numbers of an experiment's runs, in columns: what a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StateTotal:
    """The runs of an experiment that are in one state.

    Attributes:
        runs: How many they are.
        total_s: Seconds of compute of all together.
        longest_s: Seconds of compute of the longest.
    """

    runs: int
    total_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Numbers:
    """What SQL sees of an experiment's params and numeric fields.

    Attributes:
        table: Name of the table of its runs.
        sql: A statement that selects the same from the database.
        states: Totals by state of the runs.
        params: The params of each run in order, as JSON has them.
        fields: Values of each numeric field, shape (runs,), dtype float64; NaN where there is none.
        complete: Whether `params` and `fields` are of all runs: of too many, only the last are.
    """

    table: str
    sql: str
    states: Mapping[str, StateTotal]
    params: Sequence[Mapping[str, Any]] = ()
    fields: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    complete: bool = True

    @property
    def run_count(self) -> int:
        """Number of runs in the database."""
        return sum(total.runs for total in self.states.values())
