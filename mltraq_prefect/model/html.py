"""Pieces of HTML for notebooks: everything is escaped, and short; there is no script in it."""

from __future__ import annotations

import html
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MOST_ROWS = 8
"""Rows that a table shows: three of them are not higher than a screen."""

MOST_COLUMNS = 10
"""Columns that a table shows."""

MOST_TEXT = 60
"""Characters that are shown of a value."""

_COLORS = {"completed": "#2e9e5b", "failed": "#d64545", "stopped": "#c98a1b", "pending": "#8a8f98"}
"""They are told apart on light and dark ground."""

_OTHER = "#6b7bd6"

# Not the class of `reports/html/templates/style.css`: a notebook may show both.
_STYLE = """<style>
.mltraq-short { font-size: 13px; max-width: 100%; overflow-x: auto; color: inherit }
.mltraq-short table { border-collapse: collapse; margin: 6px 0; color: inherit; background: none;
  font-size: inherit }
.mltraq-short th, .mltraq-short td { text-align: left; padding: 2px 10px 2px 0; border: none;
  color: inherit; background: none; border-bottom: 1px solid rgba(128, 128, 128, .35);
  white-space: nowrap }
.mltraq-short th { font-weight: 600 }
.mltraq-short .note { opacity: .75 }
.mltraq-short ins, .mltraq-short del { text-decoration: none; background: rgba(46, 158, 91, .22) }
.mltraq-short del { background: rgba(214, 69, 69, .22) }
.mltraq-short .bar { display: flex; width: 240px; max-width: 100%; height: 8px; border-radius: 4px;
  overflow: hidden; background: rgba(128, 128, 128, .25) }
.mltraq-short .bar span { display: block; height: 8px }
.mltraq-short .dot { display: inline-block; width: 8px; height: 8px; border-radius: 4px;
  margin-right: 4px }
</style>"""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = MOST_TEXT


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(title: str, *parts: str) -> str:
    """Return one block of HTML.

    Args:
        title: Its heading, as text.
        parts: What follows: `Markup` as it is, other text escaped.
    """
    blocks = "".join(f"<div>{text(part)}</div>" for part in parts if part)
    return f'<div class="mltraq-short">{_STYLE}<b>{text(short(title))}</b>{blocks}</div>'


def text(value: str) -> Markup:
    """Return text as HTML; `Markup` as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(_cleaned(value)))


def note(value: str) -> Markup:
    """Return text that is less important."""
    return Markup(f'<span class="note">{text(value)}</span>')


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Return a table of text or `Markup`."""
    head = "".join(f"<th>{text(cell)}</th>" for cell in headings)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return Markup(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def states(counts: Mapping[str, int]) -> Markup:
    """Return the number of runs in each state, as a bar and as text."""
    total = sum(counts.values())
    shown = [(state, count, _COLORS.get(state, _OTHER)) for state, count in counts.items() if count]
    parts = "".join(
        f'<span style="width:{100 * count / total:.2f}%;background:{color}"></span>'
        for _, count, color in shown
    )
    words = " &nbsp; ".join(
        f'<span class="dot" style="background:{color}"></span>{count:,} {text(state)}'
        for state, count, color in shown
    )
    return Markup(f'<div class="bar">{parts}</div><div>{words or "no runs"}</div>')


def kind(value: Any) -> str:
    """Return what kind of value it is: its type, with shape and dtype if it has them."""
    shape, dtype = _attribute(value, "shape"), _attribute(value, "dtype")
    name = type(value).__name__
    if isinstance(shape, tuple) and shape:
        size = " x ".join(map(str, shape))
        return f"{name} {size} {dtype}" if dtype is not None else f"{name} {size}"
    return name


def shown(value: Any) -> str:
    """Return a value as short text: large ones by their kind alone."""
    if value is None:
        return ""
    shape = _attribute(value, "shape")
    if isinstance(shape, tuple) and shape:
        return kind(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value):,} bytes"
    if isinstance(value, float):
        return f"{value:.6g}"
    try:
        found = value if isinstance(value, str) else _repr.repr(value)
    except Exception:
        found = f"<{type(value).__name__}>"
    return short(found)


def short(value: str) -> str:
    """Return the beginning of a text, in one line."""
    found = " ".join(value[: 4 * MOST_TEXT].split())
    return found if len(found) <= MOST_TEXT else found[: MOST_TEXT - 3] + "..."


def _cleaned(value: str) -> str:
    """Return text that a page can carry: lone surrogates and NULs it cannot."""
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _attribute(value: Any, name: str) -> Any:
    try:
        return getattr(value, name, None)
    except Exception:
        return None
