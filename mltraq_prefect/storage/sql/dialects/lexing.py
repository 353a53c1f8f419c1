"""What of a statement is no code: literals, quoted names, comments, as each database has them."""

from __future__ import annotations

import re
from functools import lru_cache

_NAMES = r""" "(?:[^"]|"")*" | `(?:[^`]|``)*` """
_TEXTS = r""" '(?:[^']|'')*' """
_LINES = r""" --[^\n]* """


def _nested(depth: int) -> str:
    inner = f"|{_nested(depth - 1)}" if depth else ""
    return rf" /\*(?:(?!/\*|\*/).{inner})*\*/ "


SQLITE = rf"{_TEXTS} | {_NAMES} | \[[^\]]*\] | {_LINES} | /\*.*?\*/"
"""A backslash in a text is itself; names may be in brackets, too."""

POSTGRESQL = rf"""
    (?<!\w)[eE]'(?:[^'\\]|''|\\.)*' | {_TEXTS} | {_NAMES} | {_LINES} | {_nested(3)}
  | (?<!\w)\$(?P<tag>\w*)\$.*?\$(?P=tag)\$
"""
"""A backslash escapes in texts of the form ``E'...'`` only; comments are in comments."""

MARIADB = r"""
    '(?:[^'\\]|''|\\.)*' | "(?:[^"\\]|""|\\.)*" | `(?:[^`]|``)*`
  | --(?=\s|$)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/
"""
"""A backslash escapes; what a comment with an exclamation mark has is code."""


@lru_cache
def _compiled(apart: str) -> re.Pattern[str]:
    return re.compile(apart, re.VERBOSE | re.DOTALL)


def code(sql: str, apart: str) -> str:
    """Return a statement with a blank for each part that is no code.

    Args:
        sql: The statement.
        apart: One of the patterns of this module.
    """
    return _compiled(apart).sub(" ", sql)
