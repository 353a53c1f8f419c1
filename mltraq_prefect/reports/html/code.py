"""The part of a page that says where results come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.html import shown
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.provenance.diff import code_html, diff
from mltraq_prefect.reports.provenance.execution import Execution
from mltraq_prefect.reports.study.study import Study

MOST = 50
"""Executions that a page lists."""

MOST_OF_CODE = 60_000
"""Characters of code, and of a diff, that a page has."""


class CodeLinks(Protocol):
    """Addresses of executions on a server."""

    def chosen(self, name: str) -> str | None:
        """Return what the address of this page says of something."""
        ...

    def execution(self, id_execution: str, other: str | None = None) -> str:
        """Return the address of an execution, perhaps compared with another one."""
        ...


def code(study: Study, links: CodeLinks | None) -> str:
    """Return executions, one of them with its code, and what differs from another one.

    Args:
        study: The study.
        links: Addresses on a server; None if there is none: then it is the latest.

    Raises:
        InvalidInput: The address names an execution that is not there.
    """
    wanted, other = (
        None if links is None else links.chosen(name) for name in ("execution", "with")
    )
    origins = study.results.origins(MOST, [name for name in (wanted, other) if name])
    known = {own.id_execution: Execution(own, origins.known) for own in origins.executions}
    for name in (wanted, other):
        if name is not None and name not in known:
            raise InvalidInput(f"experiment {study.header.name!r} has no execution {name!r}")
    order = list(known)
    chosen = wanted or (order[-1] if order else None)
    before = dict(zip(order, [None, *order], strict=False))
    other = other or (before[chosen] if chosen else None)
    context: Mapping[str, Any] = {
        "executions": [(known[name], before[name]) for name in reversed(order)],
        "total": origins.total,
        "chosen": known[chosen] if chosen else None,
        "told": _told(known[chosen]) if chosen else [],
        "source": _cut(known[chosen].source()) if chosen else "",
        "changed": _diff(known[chosen].git_diff) if chosen else "",
        "other": known[other] if other else None,
        "difference": _difference(known[other], known[chosen]) if chosen and other else None,
    }
    return render("sections/code.html", links=links, short=12, **context)


def _told(execution: Execution) -> list[tuple[str, str]]:
    """Return what is known of an execution, by name, for a person."""
    told = [(f"kwargs.{key}", _short(value)) for key, value in execution.kwargs.items()]
    told.append(("seed", str(execution.seed)))
    told += [(name, str(value)) for name, value in execution.surroundings().items()]
    versions = ", ".join(f"{name} {version}" for name, version in execution.versions.items())
    return [*told, *([("versions", versions)] if versions else [])]


def _difference(a: Execution, b: Execution) -> Mapping[str, Any]:
    found = diff(a, b)
    return {
        "is_any": bool(found),
        "rows": [
            (part, name, _short(was), _short(now)) for part, name, (was, now) in found.pairs()
        ],
        "values": found.code_values,
        "code": [_diff(text) for text in found.code.values()],
    }


def _diff(text: str | None) -> str:
    return code_html(_cut(text)) if text else ""


def _short(value: Any) -> str:
    return value if isinstance(value, str) else shown(value) if value is not None else "-"


def _cut(text: str) -> str:
    if len(text) <= MOST_OF_CODE:
        return text
    return f"{text[: text.rfind(chr(10), 0, MOST_OF_CODE)]}\n... {len(text):,} characters"
