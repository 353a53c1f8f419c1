"""Suggestions for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Mapping


def no_attribute(
    owner: object, name: str, hints: Mapping[str, str], known: Iterable[str]
) -> AttributeError:
    """Return the error for an unknown attribute, with a suggestion.

    Args:
        owner: The object.
        name: Name of the attribute.
        hints: What to write instead, by the names that other libraries use.
        known: Names of existing attributes.
    """
    text = f"{type(owner).__name__} has no attribute {name!r}"
    close = difflib.get_close_matches(name, [key for key in known if key[:1] != "_"], n=1)
    if name in hints:
        text = f"{text}; use {hints[name]}"
    elif close:
        text = f"{text}; did you mean {close[0]!r}?"
    return AttributeError(text, name=name, obj=None)


def unknown_name(given: Iterable[Hashable], known: Iterable[Hashable]) -> str | None:
    """Return a message on the first unknown name, or None if all are known.

    Args:
        given: Names that a user gave.
        known: Existing names; those of columns may be no text.
    """
    known = list(dict.fromkeys(known))
    texts = [name for name in known if isinstance(name, str)]
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return None
    close = difflib.get_close_matches(str(unknown), texts, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{unknown!r}; {hint}known: {', '.join(map(repr, known)) or 'none'}"
