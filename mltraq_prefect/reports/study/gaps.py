"""Params without a value: it is None there, or the run does not have the param."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST_NUMBERS = 25
"""A param with more numbers stays a number: None has no place among these."""


class Gaps:
    """Tells the param that is None from the one that a run does not have.

    The database has NULL for both. A run does not have a param if none of those has it that share
    the value of another param with it: no run of ``model="forest"`` has the ``C`` of an SVC.

    Args:
        params: Params of runs, a column each.
        families: Names of the columns that divide runs into families.

    Attributes:
        texts: What None is shown as, for each param of which it is a value.
    """

    def __init__(self, params: pd.DataFrame, families: Sequence[str]) -> None:
        missing = params.loc[:, params.isna().any()].isna()
        self._without: dict[str, dict[str, frozenset[Any]]] = {str(name): {} for name in missing}
        for family in families if len(self._without) else ():
            lacks = missing.groupby(params[family]).all()
            for name in self._without:
                if name != family and lacks[name].any():
                    self._without[name][family] = frozenset(lacks.index[lacks[name]])
        self._none = {name: self._is_none(params, missing[name]) for name in self._without}
        self.texts = {
            name: "(none)" if (params[name] == "none").any() else "none"
            for name, is_none in self._none.items()
            if is_none.any()
        }

    def _is_none(self, params: pd.DataFrame, missing: pd.Series[bool]) -> pd.Series[bool]:
        for family, values in self._without[str(missing.name)].items():
            missing = missing & ~params[family].isin(values)
        return missing

    def told(self, name: str, run: Mapping[str, Any]) -> str | None:
        """Return what a missing param is shown as; None if runs with these params lack it."""
        families = self._without.get(name, {})
        if name not in self.texts or any(run.get(own) in families[own] for own in families):
            return None
        is_sure = not families or any(own in run for own in families)
        return self.texts[name] if is_sure else f"{self.texts[name]} or absent"

    def filled(self, column: pd.Series[Any]) -> pd.Series[Any]:
        """Return a param with a text where it is None; what runs do not have stays missing."""
        name = str(column.name)
        is_number = column.dtype.kind in "if"
        if name not in self.texts or (is_number and column.nunique() > MOST_NUMBERS):
            return column
        return column.astype(object).mask(self._none[name], self.texts[name])
