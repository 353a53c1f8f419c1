"""Failed runs by distinct error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mltraq_prefect.errors import FailureGroup
from mltraq_prefect.execution.failures import grouped_failures
from mltraq_prefect.model.description import describe
from mltraq_prefect.reports.study.study import Study

MOST_READ = 2_000


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed runs by distinct error.

    Attributes:
        groups: The errors, the most frequent first, each with the ids of some of its runs.
        read: Number of failed runs that were read.
        failed: Number of all failed runs.
    """

    groups: Sequence[FailureGroup]
    read: int
    failed: int


def failures(study: Study, most: int = MOST_READ) -> Failures:
    """Return the failures of a study, of so many runs at most."""
    total = study.header.states.get("failed")
    if total is None or not total.runs:
        return Failures([], 0, 0)
    found = study.results.failures(most)
    groups = grouped_failures([(describe(own.params), own.error) for own in found])
    return Failures(groups, len(found), total.runs)
