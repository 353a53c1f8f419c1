"""Checks of arguments: an error says which one, what it got, and what it takes."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mltraq_prefect.errors import InvalidInput


def refused(name: str, value: object, use: str) -> InvalidInput:
    """Return the error about an argument that cannot be used.

    Args:
        name: Name of the argument.
        value: What it got.
        use: What it takes.
    """
    return InvalidInput(f"{name} is {reprlib.repr(value)}; use {use}")


def check_flags(**flags: object) -> None:
    """Refuse what is no truth value, of Python or NumPy: ``"no"`` would be true.

    Args:
        **flags: Arguments by name.

    Raises:
        InvalidInput: One of them is something else.
    """
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise refused(name, value, "True or False")


def check_text(name: str, value: object, use: str) -> str:
    """Return a text that is not empty.

    Raises:
        InvalidInput: It is something else.
    """
    if not isinstance(value, str) or not value:
        raise refused(name, value, use)
    return value


def names_of(name: str, value: object) -> list[str] | None:
    """Return names that are given in a list or such; None if there are none.

    Args:
        name: Name of the argument.
        value: What it got. One name would be taken for its letters, so it is refused.

    Raises:
        InvalidInput: It is something else.
    """
    if isinstance(value, str):
        raise InvalidInput(f"{name} is {value!r}; give a list of names: [{value!r}]")
    if value is None:
        return None
    names: list[Any] = list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(one, str) for one in names):
        raise refused(name, value, "a list of names, or None")
    return names


def flag_or_names(name: str, value: object) -> bool | list[str]:
    """Return whether all or nothing is meant, or the names of what is.

    Args:
        name: Name of the argument.
        value: What it got: a truth value, of Python or NumPy, or names in a list or such.

    Raises:
        InvalidInput: It is something else.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    names = names_of(name, value)
    if names is None:
        raise refused(name, value, "True, False or a list of names")
    return names


def path_of(name: str, value: object) -> Path:
    """Return the path of a file or folder.

    Raises:
        InvalidInput: It is something else.
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    try:
        usable = isinstance(path, str) and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        usable = False
    if path is None or not usable:
        raise refused(name, value, "a path, such as 'results/digits.parquet'")
    return Path(path)
