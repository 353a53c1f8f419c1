"""Kinds of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from xxhash import xxh3_128_digest

from mltraq_prefect.codecs import from_json
from mltraq_prefect.storage.values.change_marks import Mark
from mltraq_prefect.storage.values.kinds.base import Backend, Held, Kind

_LONG_TEXT = 256
"""Characters of a text that takes no less memory than a digest beside it."""


class Text(Kind):
    """Text of any length."""

    name = "text"
    natives: ClassVar[dict[type, str]] = {str: "str", np.str_: "numpy.str_"}
    is_long = True

    def held(self, cells: list[Any], backend: Backend) -> Held:
        """Replace what the backend's text cannot hold."""
        whole = "".join(filter(None, cells))
        if (backend.nul or "\0" not in whole) and (whole.isascii() or _is_unicode(whole)):
            return Held(cells, [], self.marks(cells))
        kept = [None if cell is None else clean(cell, backend) for cell in cells]
        changed = [index for index, cell in enumerate(cells) if kept[index] != cell]
        return Held(kept, changed, self.marks(kept))

    def marks(self, cells: Sequence[Any]) -> Sequence[Mark]:
        """Return digests of long texts."""
        if max(map(len, filter(None, cells)), default=0) <= _LONG_TEXT:
            return cells
        return [
            cell if cell is None or len(cell) <= _LONG_TEXT else xxh3_128_digest(cell.encode())
            for cell in cells
        ]


class Json(Text):
    """Plain trees, as JSON text."""

    name = "json"
    natives: ClassVar[dict[type, str]] = {}

    def reviver(self, type_: str) -> Callable[[Any], Any] | None:
        """Parse the text."""
        return from_json


def clean(text: str, backend: Backend) -> str:
    """Return text without what the backend's text cannot hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if backend.nul else text.replace("\0", "\ufffd")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


TEXT = Text()
JSON = Json()
