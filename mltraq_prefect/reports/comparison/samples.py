"""Groups of rows, and the rows of two groups that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.description import describe
from mltraq_prefect.reports.numbers import Places

NAMED = 10
"""The largest number of groups that an error names."""


class Matched(NamedTuple):
    """Rows of two groups.

    Attributes:
        own: Places of rows of a group.
        other: Places of rows of the other group; in the same order, if they are in pairs.
        dropped: Number of rows of both that are in no pair.
    """

    own: Places
    other: Places
    dropped: int


class Samples:
    """Rows of a frame in groups, and in pairs if columns say which rows belong together.

    Args:
        frame: A row a run.
        by: Columns whose values make the groups.
        pair_on: Columns whose values make the pairs; none if rows are independent.

    Raises:
        InvalidInput: There is one group, or several rows of a group have the same place in a pair.

    Attributes:
        labels: Of each group: the value of the column, or a tuple of several columns' values.
    """

    def __init__(self, frame: pd.DataFrame, by: Sequence[str], pair_on: Sequence[str]) -> None:
        self._by, self._pair_on = by, pair_on
        self._groups, firsts = _codes(frame, by)
        columns = [frame[name].iloc[firsts].tolist() for name in by]
        self.labels: list[Any] = columns[0] if len(by) == 1 else list(zip(*columns, strict=True))
        if len(self.labels) < 2:
            raise InvalidInput(self._one_group())
        self._table = self._paired_rows(frame) if pair_on else None

    def place_of(self, label: Any) -> int:
        """Return the place of a group among the labels.

        Args:
            label: Of the group; if it is of several columns, a mapping or sequence of their values.

        Raises:
            InvalidInput: There is no such group.
        """
        if len(self._by) > 1:
            found = [label.get(name) for name in self._by] if isinstance(label, Mapping) else label
            label = tuple(found) if isinstance(found, Sequence) else found
        place = next((i for i, known in enumerate(self.labels) if _same(known, label)), None)
        if place is not None:
            return place
        known = "; ".join(self.name(place) for place in range(min(NAMED, len(self.labels))))
        left = len(self.labels) - NAMED
        more = f"; and {left:,} more" if left > 0 else ""
        raise InvalidInput(f"no group is the baseline {label!r}; there are {known}{more}")

    def name(self, place: int) -> str:
        """Return the name of a group for a person, such as ``model=svc``."""
        label = self.labels[place]
        values = (label,) if len(self._by) == 1 else label
        return describe(dict(zip(self._by, values, strict=True)))

    def match(self, place: int, other: int) -> Matched:
        """Return the rows of two groups, in pairs if these are known.

        Args:
            place: Place of a group.
            other: Place of the other group.

        Raises:
            InvalidInput: No row of one belongs to a row of the other.
        """
        if self._table is None:
            own, others = (np.flatnonzero(self._groups == group) for group in (place, other))
            return Matched(own, others, 0)
        own, others = self._table[place], self._table[other]
        both = (own >= 0) & (others >= 0)
        dropped = int((own >= 0).sum() + (others >= 0).sum() - 2 * both.sum())
        if not both.any():
            raise InvalidInput(
                f"{self.name(place)} and {self.name(other)} have no pair: their {dropped:,} rows "
                f"agree nowhere in {_listed(self._pair_on)}; leave pair_on out if the runs are "
                "independent"
            )
        return Matched(own[both], others[both], dropped)

    def _paired_rows(self, frame: pd.DataFrame) -> Places:
        """Return the place of the row of each group and pair, -1 where there is none."""
        pairs, _ = _codes(frame, self._pair_on)
        table = np.full((len(self.labels), int(pairs.max()) + 1), -1)
        table[self._groups, pairs] = np.arange(len(frame))
        if int((table >= 0).sum()) < len(frame):
            row = int(np.flatnonzero(table[self._groups, pairs] != np.arange(len(frame)))[0])
            group, pair = int(self._groups[row]), int(pairs[row])
            count = int(((self._groups == group) & (pairs == pair)).sum())
            found = describe({name: frame[name].iloc[row] for name in self._pair_on})
            raise InvalidInput(
                f"{count:,} rows of {self.name(group)} have {found}, so that pairs are not known: "
                "add what else varies to pair_on or by, or filter the data"
            )
        return table

    def _one_group(self) -> str:
        if not self.labels:
            return "there are no rows to compare"
        return (
            f"all rows are of one group, {self.name(0)}: there is nothing to compare it with; "
            "give by= a column that varies"
        )


def _codes(frame: pd.DataFrame, names: Sequence[str]) -> tuple[Places, Places]:
    """Return the group of each row, in order of appearance, and the first row of each group."""
    keys = [_hashable(frame[name]) for name in names]
    grouped = frame.groupby(keys, sort=False, dropna=False, observed=True)
    codes = pd.factorize(grouped.ngroup().to_numpy())[0]
    return codes, np.unique(codes, return_index=True)[1]


def _hashable(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column whose values can be told apart: lists and such by their text."""
    try:
        column.map(hash)
    except TypeError:
        return column.map(repr)
    return column


def _same(known: Any, label: Any) -> bool:
    try:
        return bool(known == label)
    except (TypeError, ValueError):  # arrays
        return False


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
