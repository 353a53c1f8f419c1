"""Texts by name, as JSON in a cell."""

from __future__ import annotations

import json

from mltraq_prefect.errors import CorruptData


def texts_of(cell: str, what: str) -> dict[str, str]:
    """Return texts by name.

    Args:
        cell: The JSON.
        what: What they are, for the error.

    Raises:
        CorruptData: It is something else.
    """
    try:
        texts = json.loads(cell)
    except (ValueError, RecursionError, TypeError):
        texts = None
    if type(texts) is not dict or not all(type(text) is str for text in texts.values()):
        raise CorruptData(f"{what} are not texts by name")
    return texts
