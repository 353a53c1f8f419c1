"""What importers give: experiments of other trackers, as runs."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mltraq_prefect.model.run import Run

NAMESPACE = uuid.UUID("f2a0fd7c-7d0c-5a4e-9d3e-1b3f9e1d6a55")


class Found(NamedTuple):
    """An experiment of another tracker.

    Attributes:
        fields: What is tracked of it as a whole.
        runs: Its runs, with ids that are the same each time.
    """

    fields: dict[str, Any]
    runs: list[Run]


class Source(NamedTuple):
    """Where an experiment is from.

    Attributes:
        name: Its name there.
        origin: What identifies it there; begins with the tracker and a colon.
        read: Reads it.
    """

    name: str
    origin: str
    read: Callable[[], Found]


def id_of(text: str) -> str:
    """Return the id of a run: that of the other tracker if it is a UUID, else one made of it."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.uuid5(NAMESPACE, text.encode("utf-8", "surrogateescape").hex()))


def type_params(params: Sequence[dict[str, Any]]) -> None:
    """Give params, which are all text, the types that their texts were made of.

    A param is of numbers or truth values if that holds of it in every run; text such as ``1.10``,
    which is not how Python shows a number, stays text, and so do all values of that param.
    """
    for key in dict.fromkeys(key for own in params for key in own):
        known = [own for own in params if key in own]
        values = [_value(own[key]) for own in known]
        types = set(map(type, values)) - {type(None)}
        if str not in types and (types <= {int, float} or types == {bool}):
            for own, value in zip(known, values, strict=True):
                dict.__setitem__(own, key, value)


def _value(text: Any) -> Any:
    """Return the value that Python shows as some text; the text if there is none."""
    if text in _WORDS:
        return _WORDS[text]
    for type_ in (int, float):
        try:
            value = type_(text)
        except (TypeError, ValueError):
            continue
        if repr(value) == text and (type_ is int or math.isfinite(value)):
            return value
    return text


_WORDS = {"True": True, "False": False, "None": None}
