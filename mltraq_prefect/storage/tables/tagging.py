"""Tags and a note: what people say of an experiment, as columns of its row in `experiments`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mltraq_prefect.errors import CorruptData, InvalidInput
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.values.kinds import JSON, TEXT, Kind

ANNOTATIONS: dict[str, Kind] = {"tags": JSON, "note": TEXT}

MOST_BYTES = 65_536
"""More than that is a field: every list of experiments reads the tags."""


@dataclass(frozen=True, slots=True)
class Annotations:
    """What people say of an experiment.

    Attributes:
        tags: Texts by name.
        note: A text; empty if there is none.
    """

    tags: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


NOTHING = Annotations()


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be changed of annotations.

    Attributes:
        tags: New tags by name; None removes one.
        note: The new note; None leaves it.
    """

    tags: Mapping[str, str | None] = field(default_factory=dict)
    note: str | None = None

    def applied(self, stored: Annotations) -> Annotations:
        """Return stored annotations with these changes."""
        tags = {**stored.tags, **self.tags}
        kept = {name: tag for name, tag in tags.items() if tag is not None}
        return Annotations(kept, stored.note if self.note is None else self.note)


def checked(tags: object, note: object, experiment: str) -> Annotations:
    """Return tags and a note that can be stored.

    Raises:
        InvalidName: The name of a tag is no text, or empty.
        InvalidInput: A tag or the note is no text, or too long.
    """
    what = f"experiment {experiment!r}"
    for name, tag in by_name(tags, what).items():
        check_name(name, f"{what}: name of a tag")
        _check_text(tag, f"{what}: tag {name!r}")
    _check_text(note, f"{what}: note")
    found = Annotations(dict(by_name(tags, what)), str(note))
    for part, text in (("tags take", dump(found.tags)), ("note takes", found.note)):
        if len((text or "").encode()) > MOST_BYTES:
            raise InvalidInput(
                f"{what}: its {part} more than {MOST_BYTES:,} bytes; keep it in a field instead"
            )
    return found


def by_name(tags: object, what: str) -> Mapping[str, Any]:
    """Return tags if they are given by name.

    Raises:
        InvalidInput: They are not.
    """
    if not isinstance(tags, Mapping):
        raise InvalidInput(f"{what}: tags is of type {type(tags).__name__}; give a dict of texts")
    return tags


def _check_text(text: object, what: str) -> None:
    if type(text) is not str:
        raise InvalidInput(f"{what} is of type {type(text).__name__}; give a text")
    if "\0" in text:
        raise InvalidInput(f"{what} contains a NUL character, which no database can carry")
    try:
        text.encode()
    except UnicodeEncodeError:
        reason = "contains a lone surrogate, which is not valid Unicode text"
        raise InvalidInput(f"{what} {reason}") from None


def changes(now: Annotations, seen: Annotations | None) -> Changes:
    """Return what somebody has changed since annotations were seen.

    Args:
        now: What there is now.
        seen: What there was; None if it was not seen: what there is now is added then.
    """
    known = NOTHING if seen is None else seen
    tags: dict[str, str | None] = dict.fromkeys(known.tags.keys() - now.tags.keys())
    tags |= {name: tag for name, tag in now.tags.items() if known.tags.get(name) != tag}
    return Changes(tags, None if now.note == known.note else now.note)


def dump(tags: Mapping[str, str]) -> str | None:
    """Return tags as JSON; None if there are none."""
    return json.dumps(dict(tags), ensure_ascii=False) if tags else None


def parse(tags: Any, note: Any, experiment: str) -> Annotations:
    """Return what the columns hold.

    Raises:
        CorruptData: They hold something else.
    """
    try:
        parsed = {} if tags is None else json.loads(tags)
        if not all(type(text) is str for text in (note or "", *parsed.values())):
            raise TypeError
    except (ValueError, TypeError, AttributeError, RecursionError):
        reason = "tags and note in `experiments` are not as this package writes them"
        raise CorruptData(reason, experiment=experiment) from None
    return Annotations(parsed, note or "")
