"""Messages of databases without the values that they quote."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""(?<!\w)["'].*["'](?!\w)|(?<!\w)["'].*""", re.DOTALL)
"""From the first quote to the last, or the end; not the apostrophe of ``doesn't``."""

_PIECE = re.compile(r"""(["'])(.*?)\1""", re.DOTALL)
_QUOTE = re.compile(r"""["']""")


def without_values(message: str, sql: str = "") -> str:
    """Return a message without what it quotes, unless that is part of the user's own statement.

    A database quotes the stored value at which a cast, a function or a constraint fails.

    Args:
        message: What the database says, with all its lines.
        sql: The statement, without the values of its params.
    """
    found = _QUOTED.search(message)
    if found is None or _is_from(found.group(), sql):
        return message
    return f'{message[: found.start()]}"..."{message[found.end() :]}'


def _is_from(quoted: str, sql: str) -> bool:
    """Return whether it is one part of the statement, or names in it; a value may have quotes."""
    if quoted[1:-1] in sql:
        return True
    names = [piece for _, piece in _PIECE.findall(quoted)]
    whole = len(_QUOTE.findall(quoted)) == 2 * len(names)
    return whole and set(names) <= set(re.findall(r"[\w.]+", sql))
