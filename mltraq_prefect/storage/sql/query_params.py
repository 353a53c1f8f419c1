"""Params of users' statements: what the driver gets for each, and lists for IN."""

from __future__ import annotations

import datetime
import decimal
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from mltraq_prefect.errors import InvalidInput, QueryFailed
from mltraq_prefect.model.identity import as_python
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.values.cells import for_driver
from mltraq_prefect.storage.values.kinds import DATETIME
from mltraq_prefect.storage.values.kinds.times import without_zone
from mltraq_prefect.storage.values.natives import NATIVES

_IN = re.compile(r"\b(NOT\s+)?IN\s*(\(\s*)?$", re.IGNORECASE)
"""What stands before a list that is expanded."""

OWN = "mltraq_"
"""What the names of params begin with that this package adds to those of a user."""

_LISTS = (list, tuple, set, frozenset, np.ndarray)
_PARAM_TYPES = (type(None), bool, int, float, str, bytes, decimal.Decimal)


def check_params(params: object) -> None:
    """Refuse params that are not given by name.

    Raises:
        InvalidInput: They are not.
    """
    if params is not None and not isinstance(params, Mapping):
        raise InvalidInput(
            f"params is of type {type(params).__name__}; give a dict of values by name, which the "
            "statement has as :name"
        )


def check_unicode(text: str, what: str) -> None:
    """Refuse a text that no driver can send.

    Raises:
        QueryFailed: It is such.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryFailed(f"{what} has a lone surrogate, which is not valid Unicode text") from None


class Binder:
    """Gives each placeholder of a statement a name of its own, and a value.

    Args:
        params: Values of the user's params.
        dialect: Of the database.
        mark: What stands for each value, if not what the driver replaces.

    Attributes:
        values: What the driver gets, in the order of the statement.
    """

    def __init__(self, params: Mapping[str, Any], dialect: Dialect, mark: str = "") -> None:
        self._params = params
        self._dialect = dialect
        self._own_mark = mark or dialect.placeholder
        self.values: list[Any] = []

    def bind(self, name: str, before: str) -> str:
        """Return what stands in the statement for a param.

        Args:
            name: Its name.
            before: The statement up to there.

        Raises:
            QueryFailed: The param is not known, or of a type that SQL does not have.
        """
        if name not in self._params:
            known = ", ".join(own for own in self._params if not own.startswith(OWN)) or "none"
            raise QueryFailed(f"the statement asks for :{name}; given params: {known}")
        value = self._params[name]
        within = _IN.search(before) if isinstance(value, _LISTS) else None
        if within is None:
            return self._mark(self._one(name, value))
        if not len(value) and within[1]:
            raise QueryFailed(f":{name} is empty: leave out the condition NOT IN :{name}")
        items = [self._one(name, item) for item in value]
        marks = ", ".join(map(self._mark, items)) or "NULL"
        return marks if within[2] else f"({marks})"

    def _mark(self, value: Any) -> str:
        self.values.append(value)
        return self._own_mark

    def _one(self, name: str, value: Any) -> Any:
        if isinstance(value, np.datetime64):
            with suppress(OverflowError):  # since NumPy 2.5: the years of no database
                value = value.astype("M8[us]")
        if isinstance(value, np.generic):
            value = as_python(value)
        if type(value) is str:
            check_unicode(value, f":{name}")
        if type(value) in _PARAM_TYPES:
            return value
        if type(value) in (list, tuple) and self._dialect.binds_lists:
            return [self._one(name, item) for item in value]
        if isinstance(value, datetime.datetime):  # one of pandas too
            moment = None if value != value else without_zone(value)
            return for_driver(self._dialect, DATETIME, [moment])[0]
        native = NATIVES.get(type(value))
        if native is None:
            raise QueryFailed(
                f":{name} is of type {type(value).__name__}, which SQL does not have; give a "
                "number, text, bytes, date, time or UUID, or a list of them after IN"
            )
        return for_driver(self._dialect, native.kind, [value])[0]
