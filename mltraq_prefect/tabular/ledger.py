"""What tables say of the state of runs, as entries of the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mltraq_prefect.codecs import from_json
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.execution.tracebacks import step_of
from mltraq_prefect.model.ledger_entry import LedgerEntry, State, StepEntry

STATES: tuple[str, ...] = get_args(State)


def ledger_values(name: str, values: Sequence[Any]) -> list[Any]:
    """Return the values of a column of the ledger; None for missing ones.

    Args:
        name: Name of the column.
        values: What a table has of it.

    Raises:
        InvalidInput: They are none.
    """
    make = _MAKERS[_type_of(name)]
    try:
        return [None if _is_missing(value) else make(value) for value in values]
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(
            f"the column {name!r} of the table holds something else than the ledger does; rename "
            "it, or leave it out"
        ) from None


def entry_of(values: Mapping[str, Any]) -> LedgerEntry:
    """Return the entry of a run; completed, unless the values say something else."""
    entry = LedgerEntry("completed")
    for name, value in values.items():
        setattr(entry, name, value)
    entry.executed = {step: StepEntry("completed", print_) for step, print_ in entry.steps.items()}
    if entry.state == "failed":
        failed = step_of(entry.error or "") or entry.step
        entry.step = entry.step or failed
        if failed is not None:
            entry.executed[failed] = StepEntry("failed", None, entry.error, entry.error_type)
    return entry


def _is_missing(value: Any) -> bool:
    """Tell whether there is nothing: None, or NaN, as which pandas reads empty cells of CSV."""
    return value is None or (isinstance(value, float) and value != value)


def _type_of(name: str) -> Any:
    hint = get_type_hints(LedgerEntry)[name]
    types = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    (own,) = [type_ for type_ in types if type_ is not NoneType]
    return get_origin(own) or own


def _state(value: Any) -> str:
    if value not in STATES:
        raise ValueError("no state")
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _moment(value: Any) -> datetime.datetime:
    found = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
    if found.tzinfo is None:
        return found.replace(tzinfo=datetime.UTC)
    return found.astimezone(datetime.UTC)


def _steps(value: Any) -> dict[str, str]:
    found = from_json(value) if isinstance(value, str) else value
    return {_text(step): _text(fingerprint) for step, fingerprint in found.items()}


_MAKERS: dict[Any, Callable[[Any], Any]] = {
    Literal: _state,
    str: _text,
    int: int,
    float: float,
    datetime.datetime: _moment,
    dict: _steps,
}
