"""Pickling by value of code that another process could not import.

This is code of ``__main__``, of notebook cells, of closures, and of modules that exist in this
process only. The source text is sent with the code, so that tracebacks show source lines even if
there is no file, as for a notebook cell.
"""

from __future__ import annotations

import io
import linecache
import pickle
from collections import ChainMap
from collections.abc import Callable
from types import CodeType
from typing import Any

import cloudpickle

from mltraq_prefect.execution.importability import modules_of_this_process_alone

MAX_SOURCE_CHARACTERS = 1_000_000
"""Longer source texts are not sent."""


def dumps(value: Any, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    """Pickle a value, with code that another process could not import by value.

    Args:
        value: Anything that cloudpickle supports.
        buffer_callback: Called with buffers that are left out of the pickle (PEP 574).
    """
    file = io.BytesIO()
    _Pickler(file, buffer_callback).dump(value)
    return file.getvalue()


def note_modules() -> None:
    """Pickle by value, from now on, what is defined in modules that only this process has.

    cloudpickle keeps the list of such modules; users may have registered others.
    """
    for module in modules_of_this_process_alone():
        cloudpickle.register_pickle_by_value(module)


def is_needed(data: bytes) -> bool:
    """Return whether a plain pickle refers to a module that another process could not import."""
    if b"__main__" in data:
        return True
    return any(name.encode() in data for name in cloudpickle.list_registry_pickle_by_value())


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, buffer_callback: Callable[[Any], Any] | None) -> None:
        self._sources: dict[str, str] = {}
        inherited = cloudpickle.Pickler.dispatch_table
        self._reduce_inherited = inherited[CodeType]
        self.dispatch_table = ChainMap({CodeType: self._reduce_code}, inherited)
        super().__init__(file, pickle.HIGHEST_PROTOCOL, buffer_callback)

    def _reduce_code(self, code: CodeType) -> tuple[Any, ...]:
        name = code.co_filename
        if name not in self._sources:
            source = "".join(linecache.getlines(name))
            self._sources[name] = source if len(source) <= MAX_SOURCE_CHARACTERS else ""
        return _with_source, (name, self._sources[name], *self._reduce_inherited(code))


def _with_source(
    name: str, source: str, make: Callable[..., CodeType], args: tuple[Any, ...]
) -> CodeType:
    """Return code, and register its source text for tracebacks if its file is missing."""
    if source and not linecache.getline(name, 1):
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return make(*args).replace(co_filename=name)
