"""What came of runs that others have executed meanwhile is not written: the first result counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mltraq_prefect.storage.tables.claims import NotOurs
from mltraq_prefect.storage.tables.ledger_columns import steps_of


class DoneElsewhere(NotOurs):
    """Somebody has completed a step in runs since they were read."""

    what = "were executed by somebody else meanwhile"


@dataclass(frozen=True, slots=True)
class FirstIn:
    """Steps that nobody else may have completed in runs that this process executes.

    Attributes:
        steps: The steps.
        before: The fingerprints of those that runs had completed before, by `id_run` and step.
    """

    steps: Collection[str]
    before: Mapping[str, Mapping[str, str]]

    def is_missed(self, id_run: str, now: Mapping[str, str]) -> bool:
        """Return whether somebody has completed such a step since the run was read.

        Args:
            id_run: The run.
            now: The steps that it has completed now, with their fingerprints.
        """
        before = self.before.get(id_run, {})
        return any(step in now and now[step] != before.get(step) for step in self.steps)

    def check(self, stored: Iterable[tuple[str, str]]) -> None:
        """Refuse runs in which somebody has.

        Args:
            stored: Runs, and the steps that they have completed now, as the ledger has them.

        Raises:
            DoneElsewhere: There are such runs.
        """
        missed = [id_run for id_run, steps in stored if self.is_missed(id_run, steps_of(steps))]
        if missed:
            raise DoneElsewhere(missed)


@dataclass(frozen=True, slots=True)
class ExecutedBy:
    """Who executes runs: what comes of them is written as long as they are its own.

    Attributes:
        claim: The claim by which it executes them, if they are shared out.
        first_in: Steps that nobody else may have completed in them: the first result counts.
    """

    claim: str | None = None
    first_in: FirstIn | None = None


ANYBODY = ExecutedBy()
"""Runs are written whoever executes them."""
