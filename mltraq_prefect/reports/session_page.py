"""A session as notebooks show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mltraq_prefect.model import html

MOST_EXPERIMENTS = 12
_HEADINGS = ("experiment", "runs", "", "fields", "written (UTC)")
_STATES = ("completed", "failed", "stopped", "pending")


def session_page(url: str, listed: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a session.

    Args:
        url: Of the database, without its secrets.
        listed: What is known of each experiment, as `Session.ls` has it.
    """
    latest = sorted(listed, key=lambda one: str(one["updated_at"]), reverse=True)
    rows = [_row(one) for one in latest[:MOST_EXPERIMENTS]]
    left = len(listed) - len(rows)
    tables = [html.table(_HEADINGS, rows)] if rows else []
    more = f"{left:,} more: session.ls()" if left else ""
    title = f"{len(listed):,} experiments in {url}"
    return html.page(title, *tables, html.note(more))


def _row(one: Mapping[str, Any]) -> list[str]:
    states = html.states({state: int(one[state]) for state in _STATES})
    name, written = html.shown(one["name"]), str(one["updated_at"] or "")[:19]
    return [name, f"{one['runs']:,}", states, f"{one['fields']:,}", written]
