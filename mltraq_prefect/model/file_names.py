"""Names of files of runs."""

from __future__ import annotations

import re

from mltraq_prefect.errors import InvalidName

MOST_BYTES = 240
"""Longest name, in bytes of UTF-8: so that it can be that of a file on any system."""

_HOSTILE = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:")


def check_file_name(name: object) -> str:
    """Return a name that a file of a run can have: a relative path, with slashes.

    Raises:
        InvalidName: It is no text, is empty, leads out of a folder, or no system has such a name.
    """
    if not isinstance(name, str):
        raise InvalidName(
            f"run.files: the name {name!r:.80} is of type {type(name).__name__}; use text, such as "
            '"model.joblib"'
        )
    reason = _reason_against(name)
    if reason:
        raise InvalidName(
            f"run.files: the name {name!r:.300} {reason}; use one such as "
            '"model.joblib" or "plots/loss.png"'
        )
    return str(name)


def is_file_name(name: str) -> bool:
    """Return whether a file of a run can have a name."""
    return not _reason_against(name)


def _reason_against(name: str) -> str:
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "has half of a character (a lone surrogate)"
    if not name:
        return "is empty"
    if length > MOST_BYTES:
        return f"has {length:,} bytes, more than {MOST_BYTES}"
    if name.startswith("/") or name[1:2] == ":":
        return "is an absolute path"
    if _HOSTILE.search(name):
        return "has a backslash or a control character"
    parts = name.split("/")
    if ".." in parts:
        return "leads out of its folder (..)"
    if "." in parts or "" in parts:
        return "has an empty part, or one that is a dot"
    return ""
