"""What importers give: experiments of other trackers, as runs."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mltraq_prefect.model.run import Run

NAMESPACE = uuid.UUID("f2a0fd7c-7d0c-5a4e-9d3e-1b3f9e1d6a55")


class Found(NamedTuple):
    """An experiment of another tracker.

    Attributes:
        fields: What is tracked of it as a whole.
        runs: Its runs, with ids that are the same each time; read while somebody takes them.
    """

    fields: dict[str, Any]
    runs: Iterable[Run]


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


class ParamTypes:
    """The types of params, which are all text, from all of their texts.

    A param is of numbers or truth values if that holds of it in every run; text such as ``1.10``,
    which is not how Python shows a number, stays text, and so do all values of that param.
    """

    def __init__(self) -> None:
        self._found: dict[str, set[type]] = defaultdict(set)

    def learn(self, key: str, text: Any) -> None:
        """Learn from what a run has for a param."""
        self._found[key].add(type(_value(text)))

    def apply(self, params: dict[str, Any]) -> None:
        """Give the params of a run the values that their texts were made of."""
        for key, text in params.items():
            types = self._found[key] - {type(None)}
            if str not in types and (types <= {int, float} or types == {bool}):
                dict.__setitem__(params, key, _value(text))


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
