"""Kinds of bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
from xxhash import xxh3_128_digest

from mltraq_prefect.codecs import decode, expanded
from mltraq_prefect.storage.values.change_marks import Mark, exact_mark
from mltraq_prefect.storage.values.kinds.base import Kind


class Bytes(Kind):
    """Bytes of the user."""

    name = "bytes"
    natives: ClassVar[dict[type, str]] = {bytes: "bytes", np.bytes_: "numpy.bytes_"}
    is_long = True

    def marks(self, cells: Sequence[Any]) -> Sequence[Mark]:
        """Return digests."""
        return [None if cell is None else xxh3_128_digest(cell) for cell in cells]


class Binary(Kind):
    """Values of all other types, as envelopes."""

    name = "binary"
    is_long = True
    is_envelope = True

    def marks(self, cells: Sequence[Any]) -> Sequence[Mark]:
        """Return one mark of a value, whether it is compressed or not."""
        return [None if cell is None else exact_mark(expanded(cell)) for cell in cells]

    def reviver(self, type_: str) -> Callable[[Any], Any] | None:
        """Decode the envelope."""
        return decode


BYTES = Bytes()
BINARY = Binary()
