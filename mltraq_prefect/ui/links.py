"""Addresses of pages: everything that a page shows is in its address."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.study.leaderboard import Leaderboard, Row
from mltraq_prefect.reports.study.results import Column, Condition, Operator

OPERATORS: Mapping[str, Operator] = {
    "is": "=",
    "isnt": "<>",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
"""What conditions are called in an address."""

NAMES = {operator: name for name, operator in OPERATORS.items()}

MISSING = "missing"

LARGE = ("binary", "bytes")
"""Kinds of columns whose values no address has."""


class Links:
    """Addresses on the server, relative to its root.

    Args:
        table: Table of the runs of the experiment that a page is about; empty if about none.
        query: What the address of the page has after the question mark, by name.
    """

    def __init__(self, table: str = "", query: Mapping[str, Sequence[str]] | None = None) -> None:
        self._table = table
        self.query = dict(query or {})

    def style(self) -> str:
        """Return the address of the style sheet."""
        return "/style.css"

    def home(self) -> str:
        """Return the address of the list of experiments."""
        return "/"

    def listed(self, **changed: Any) -> str:
        """Return the address of the list of experiments with other choices."""
        return f"/{_query(self.query | _lists(changed))}"

    def experiment(self, table: str) -> str:
        """Return the address of an experiment."""
        return f"/experiments/{quote(table, safe='')}"

    def section(self, key: str, **changed: Any) -> str:
        """Return the address of a part of this experiment, with what is chosen on this page.

        Args:
            key: The part.
            **changed: What is chosen instead; None drops it.
        """
        kept = {
            name: value
            for name, value in self.query.items()
            if name in ("metric", "lower", "by", "all")
        }
        query = self.query if key == "runs" and "f" in self.query else kept
        return f"{self.experiment(self._table)}/{key}{_query(query | _lists(changed))}"

    def here(self, key: str, **changed: Any) -> str:
        """Return the address of this page with other choices."""
        return f"{self.experiment(self._table)}/{key}{_query(self.query | _lists(changed))}"

    def run(self, id_run: str) -> str:
        """Return the address of a run of this experiment."""
        return self.run_of(self._table, id_run)

    def run_of(self, table: str, id_run: str) -> str:
        """Return the address of a run of an experiment."""
        return f"{self.experiment(table)}/run/{quote(id_run, safe='')}"

    def check(self, id_run: str) -> str:
        """Return what stands for a run of this experiment where several are chosen."""
        return f"{self._table}:{id_run}"

    def chosen(self, name: str) -> str | None:
        """Return what the address of this page says of something."""
        return next(iter(self.query.get(name) or ()), None)

    def execution(self, id_execution: str, other: str | None = None) -> str:
        """Return the address of an execution, perhaps compared with another one."""
        return self.section("code", **{"execution": id_execution, "with": other})

    def file(self, id_run: str, name: str) -> str:
        """Return the address of a file of a run."""
        return f"{self.run(id_run)}/file{_query({'name': [name]})}"

    def comparison(self) -> str:
        """Return the address of the page that compares groups of this experiment."""
        return f"/compare{_query({'e': [self._table]})}"

    def group(self, board: Leaderboard, row: Row) -> str:
        """Return the address of the runs of a configuration."""
        pairs = zip(board.by, row.values, strict=True)
        own = [Condition(column, "=", value) for column, value in pairs]
        texts = [text_of(condition) for condition in (*board.where, *own)]
        return self.section("runs", f=texts)


def text_of(condition: Condition) -> str:
    """Return a condition as an address has it: column, operator and value."""
    column, operator, value = condition
    if value is None:
        return f"{column.name}:{MISSING}:"
    return f"{column.name}:{NAMES[operator]}:{value_text(value)}"


def value_text(value: Any) -> str:
    """Return a value as text that `parsed` reads."""
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def parsed(text: str, columns: Sequence[Column]) -> Condition:
    """Return the condition that a text of an address stands for.

    Raises:
        InvalidInput: It stands for none.
    """
    known = {column.name: column for column in columns}
    name, _, rest = text.partition(":")
    operator, _, value = rest.partition(":")
    if name not in known or operator not in (*OPERATORS, MISSING):
        raise InvalidInput(f"the condition {text!r} is none on a column of this experiment")
    if operator == MISSING:
        return Condition(known[name], "=", None)
    if known[name].kind in LARGE:
        raise InvalidInput(f"{name!r} has arrays or bytes: only whether it is missing can be asked")
    return Condition(known[name], OPERATORS[operator], _value(known[name], value))


def _value(column: Column, text: str) -> Any:
    try:
        if column.kind == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if column.kind == "int":
            return _integer(text)
        if column.kind == "float":
            return float(text)
        if column.kind == "datetime":
            at = datetime.datetime.fromisoformat(text)
            return at.astimezone(datetime.UTC).replace(tzinfo=None) if at.tzinfo else at
        if column.kind == "date":
            return datetime.date.fromisoformat(text)
    except (ValueError, KeyError, OverflowError):
        raise InvalidInput(f"{text!r} is not of kind {column.kind} as {column.name!r} is") from None
    return text


def _integer(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError  # columns of integers have 64 bits
    return number


def _lists(changed: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {
        name: [] if value is None else value if isinstance(value, list) else [str(value)]
        for name, value in changed.items()
    }


def _query(query: Mapping[str, Sequence[str]]) -> str:
    pairs = [(name, value) for name, values in query.items() for value in values]
    return f"?{urlencode(pairs, errors='replace')}" if pairs else ""
