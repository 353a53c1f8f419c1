"""Whose rows the process of the execution has of a run, where two workers may execute it.

A cluster gives a batch to another worker when it has lost the first one, which may be dead, or only
cut off. What it has sent stays, and more may come. So each execution of a batch has an identity:
rows of one series are of one execution, which is the last that has begun to send; and when an
execution has ended, it hears which of its rows are not there, and gives them with its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from mltraq_prefect.model.series import LoggedRows

OwnSeries = tuple[str, str]
"""A run, and a step that may have logged rows of it."""


class Ended(NamedTuple):
    """What a worker says when it has executed a batch, and is going to write it or give it back.

    Attributes:
        sender: Identifies the execution of the batch.
        ids: The runs.
        logged: What it has sent rows of.
    """

    sender: str
    ids: Sequence[str]
    logged: Sequence[OwnSeries]


class RowOwners:
    """Tells rows of executions that count from those that do not.

    Args:
        has_ended: Returns whether a run has ended, as the process of the execution knows.
    """

    def __init__(self, has_ended: Callable[[str], bool]) -> None:
        self._has_ended = has_ended
        self._owners: dict[str, dict[str, str]] = {}
        self._settled: dict[str, str] = {}

    def admitted(self, rows: Iterable[LoggedRows]) -> list[LoggedRows]:
        """Return the rows that may be written; a later execution takes over by its first row.

        Those of an execution are left out when another one has ended: it writes its own.
        """
        return [own for own in rows if not own.sender or self._admits(own)]

    def _admits(self, own: LoggedRows) -> bool:
        if self._has_ended(own.id_run):
            return False
        owners = self._owners.setdefault(own.id_run, {})
        if not own.rows.first:
            owners[own.step] = own.sender
        return self._is_last(own) and self._settled.get(own.id_run, own.sender) == own.sender

    def judged(self, rows: Iterable[LoggedRows]) -> list[LoggedRows]:
        """Return the rows on which decisions are due: what has ended may be lost, and repeated.

        Args:
            rows: Rows, after it was told which of them are admitted.
        """
        return [own for own in rows if not own.sender or self._is_last(own)]

    def _is_last(self, own: LoggedRows) -> bool:
        return self._owners.get(own.id_run, {}).get(own.step) == own.sender

    def settle(self, ended: Ended) -> list[OwnSeries]:
        """Return the series in which there is something else than what an execution has sent.

        From now on rows of other executions of these runs are left out.
        """
        wrong = dict.fromkeys(ended.logged)
        for id_run in ended.ids:
            is_first = self._settled.setdefault(id_run, ended.sender) == ended.sender
            for step, owner in self._owners.get(id_run, {}).items():
                if is_first and owner == ended.sender:
                    wrong.pop((id_run, step), None)
                else:
                    wrong[id_run, step] = None
        return list(wrong)

    def forget(self, ids: Iterable[str]) -> None:
        """Forget runs that have ended."""
        if self._owners or self._settled:
            for id_run in ids:
                self._owners.pop(id_run, None)
                self._settled.pop(id_run, None)
