"""The one place of the package that unpickles."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        data: bytes,
        buffers: Iterable[Any],
        references: Sequence[Any],
        moved: Mapping[str, str],
    ) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._references = references
        self._moved = moved

    def persistent_load(self, place: int) -> Any:
        return self._references[place]

    def find_class(self, module: str, name: str) -> Any:
        moved = self._moved.get(f"{module}.{name}") or self._moved.get(module, module)
        return super().find_class(moved, name)


def unpickled(
    data: bytes,
    *,
    buffers: Iterable[Any] = (),
    references: Sequence[Any] = (),
    moved: Mapping[str, str] | None = None,
) -> Any:
    """Return what was pickled; runs whatever code the pickle names.

    Only for bytes from this program's own worker processes, and for those from a database whose
    signature `mltraq_prefect.storage.pickles.unseal` has checked.

    Args:
        data: The pickle.
        buffers: Memory that was left out of it.
        references: Objects that it names by their place.
        moved: Modules that had another name when it was made, by that name, or by that of a class.
    """
    if references or moved:
        return _Unpickler(data, buffers, references, moved or {}).load()
    return pickle.loads(data, buffers=buffers)
