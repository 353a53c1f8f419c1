"""An execution, as a person asks for it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_hexdigest

from mltraq_prefect.codecs import decode
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model import html
from mltraq_prefect.provenance.facts import INLINE, SURROUNDINGS, Facts
from mltraq_prefect.reports.provenance.code import KnownCode, as_text, of_fingerprint, sources_in

if TYPE_CHECKING:
    import pandas as pd

SHORT = 12
"""Characters of a commit, or of a fingerprint, that a person sees."""

_REFERENCE = b"MLTQREF1"
"""How the name of a large value begins, which is beside the row."""


class NotKept(str):
    """What a person sees of a kwarg that was not kept."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{self}>"


class Execution:
    """One call of `execute`: what was executed, by which program, where, and by whom.

    What is known of it are attributes: `id_execution`, `started_at` (UTC), `seed`, `git_commit`,
    `git_branch`, `git_dirty`, `git_diff`, `git_remote`, `script`, `command`, `user_name`, `host`,
    `python`, `platform`, `cpu`, `gpu`, `versions`, `flow`, `flow_run_id`, `deployment` and
    `deployment_id`; None is what is not known.

    Args:
        facts: What is known of it.
        known: Code by digests in fingerprints.
    """

    id_execution: str
    started_at: datetime.datetime
    seed: int
    versions: Mapping[str, str]
    git_commit: str | None
    git_branch: str | None
    git_dirty: bool | None
    git_diff: str | None
    git_remote: str | None
    script: str | None
    command: str | None
    user_name: str | None
    host: str | None
    python: str | None
    platform: str | None
    cpu: str | None
    gpu: str | None
    flow: str | None
    flow_run_id: str | None
    deployment: str | None
    deployment_id: str | None

    def __init__(self, facts: Facts, known: KnownCode) -> None:
        for own in fields(facts):
            if own.name not in ("exact", "shown", "steps"):
                setattr(self, own.name, getattr(facts, own.name))
        self._facts, self.known = facts, known

    @property
    def steps(self) -> dict[str, str]:
        """Fingerprints of its steps, by name."""
        return dict(self._facts.steps)

    @property
    def kwargs(self) -> dict[str, Any]:
        """Its kwargs, exactly; of one that was not kept a text says why, or what it was."""
        return kwargs_of(self._facts)

    def source(self, step: str | None = None) -> str:
        """Return the source of a step, and of what it calls in the user's own code.

        Args:
            step: Name of the step; all steps if None.

        Raises:
            InvalidInput: It has no such step.
        """
        if step is not None and step not in self.steps:
            raise InvalidInput(
                f"this execution has no step {step!r}; its steps: {', '.join(self.steps)}"
            )
        prints = self.steps if step is None else {step: self.steps[step]}
        codes = [code for print_ in prints.values() for code in of_fingerprint(print_, self.known)]
        return as_text(sources_in(codes))

    def surroundings(self) -> dict[str, Any]:
        """Return what is known of code, program and machine, by name."""
        found = {name: getattr(self, name) for name in SURROUNDINGS}
        return {name: value for name, value in found.items() if value is not None}

    def describe(self) -> str:
        """Return it in one line: when, what, from which commit, where."""
        where = f" on {self.host}" if self.host else ""
        return f"{self.started_at:%Y-%m-%d %H:%M} {self.what()}, {self.code()}{where}"

    def what(self) -> str:
        """Return the names of its steps, for a person."""
        return ", ".join(self.steps) or "by hand"

    def code(self) -> str:
        """Return which code it was, for a person: commit, branch, whether it was changed."""
        if self.git_commit is None:
            return self.script or "code that is in no repository"
        branch = f" ({self.git_branch})" if self.git_branch else ""
        changed = " with changes" if self.git_dirty else ""
        return f"commit {self.git_commit[:SHORT]}{branch}{changed}"

    def __repr__(self) -> str:
        lines = [f"Execution {self.id_execution}: {self.describe()}"]
        lines += [f"  {name}: {value}" for name, value in self._told()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(name, html.short(value)) for name, value in self._told()]
        return html.page(f"Execution {self.id_execution}", self.describe(), html.table([], rows))

    def _told(self) -> list[tuple[str, str]]:
        kwargs = ", ".join(f"{key}={html.shown(value)}" for key, value in self.kwargs.items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        told = {"kwargs": kwargs, "seed": self.seed, **self.surroundings(), "versions": versions}
        return [(name, str(value)) for name, value in told.items() if value not in ("", None)]


def frame_of(executions: list[Facts]) -> pd.DataFrame:
    """Return executions as a frame, a row each."""
    import pandas as pd

    rows = []
    for facts in executions:
        row: dict[str, Any] = {
            "id_execution": facts.id_execution,
            "started_at": facts.started_at,
            "steps": list(facts.steps),
            "kwargs": kwargs_of(facts, INLINE),
            "seed": facts.seed,
        }
        rows.append(row | {name: getattr(facts, name) for name in (*SURROUNDINGS, "versions")})
    names = ("id_execution", "started_at", "steps", "kwargs", "seed", *SURROUNDINGS, "versions")
    frame = pd.DataFrame(rows, columns=list(names), dtype=object)
    frame["started_at"] = pd.to_datetime(frame["started_at"], utc=True)
    return frame.set_index("id_execution")


def kwargs_of(facts: Facts, most: int | None = None) -> dict[str, Any]:
    """Return kwargs; of large ones that were not read, and of those not kept, a text.

    Args:
        facts: What is known of the execution.
        most: Bytes of the envelope of a value above which it is a text as well; any if None.
    """
    found = {key: _value(data, most) for key, data in facts.exact.items()}
    return found | {key: NotKept(text) for key, text in facts.shown.items()}


def _value(data: bytes, most: int | None) -> Any:
    if data.startswith(_REFERENCE):
        return NotKept(f"large value {data[len(_REFERENCE) :].hex()[:SHORT]}")
    if most is not None and len(data) > most:
        return NotKept(f"large value {xxh3_128_hexdigest(data)[:SHORT]}")
    return decode(data)
