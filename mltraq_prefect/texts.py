"""Texts of others, cut for a sentence of ours, and words that go with a number."""

from __future__ import annotations


def first_line(said: object, nothing: str = "") -> str:
    """Return the first line of an error, or of what it says.

    Args:
        said: The error, or its message.
        nothing: What to return if it says nothing.
    """
    return next(iter(str(said).strip().splitlines()), nothing)


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return how many there are of something: ``1 run``, ``2,000 runs``.

    Args:
        number: How many.
        one: What to say of a single one, such as ``run`` or ``run is``.
        more: What to say of none or several; with an s by default.
    """
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def shortened(text: str, most: int = 120) -> str:
    """Return a text, or its first characters if it has more than so many; for a line by default."""
    return text if len(text) <= most else f"{text[:most]} ..."
