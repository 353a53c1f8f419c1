"""Names that every database can carry."""

from __future__ import annotations

from mltraq_prefect.errors import InvalidName


def check_name(name: object, what: str) -> str:
    """Return the name if every backend can carry it.

    Args:
        name: Name of an experiment, or key of a field or param.
        what: Says which, in the error: ``experiment name``, ``field key``.

    Raises:
        InvalidName: It is no text, is empty, or holds a NUL or a lone surrogate.
    """
    if type(name) is not str:
        raise InvalidName(f"{what} {name!r} is of type {type(name).__name__}, not a string")
    if not name:
        raise InvalidName(f"{what} is an empty string; give it at least one character")
    if "\0" in name:
        raise InvalidName(f"{what} {name!r} contains a NUL character, which no database can carry")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidName(
            f"{what} {name!a} contains a lone surrogate, which is not valid Unicode text"
        ) from None
    return name
