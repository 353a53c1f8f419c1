"""Pickles of code that no other process could import.

That is code of ``__main__``, of a notebook's cells, of closures, and of modules that are found in
this process alone.

With the code travels the source of the files that it comes from. Another process may have no such
file, as a cell has none, and a traceback without source lines tells little.
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

MOST_CHARACTERS = 1_000_000
"""Larger sources are left where they are."""


def dumps(value: Any, buffer_callback: Callable[[Any], Any] | None = None) -> bytes:
    """Pickle a value, by value what no other process could import.

    Args:
        value: Anything that cloudpickle takes.
        buffer_callback: Gets large buffers instead of the pickle (PEP 574).
    """
    file = io.BytesIO()
    _Pickler(file, buffer_callback).dump(value)
    return file.getvalue()


def note_modules() -> None:
    """Let what modules of this process alone define travel by value from now on.

    cloudpickle knows the modules for which this is so, those that a user has named included.
    """
    for module in modules_of_this_process_alone():
        cloudpickle.register_pickle_by_value(module)


def is_needed(data: bytes) -> bool:
    """Return whether a plain pickle names a module that another process could not import."""
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
            self._sources[name] = source if len(source) <= MOST_CHARACTERS else ""
        return _with_source, (name, self._sources[name], *self._reduce_inherited(code))


def _with_source(
    name: str, source: str, make: Callable[..., CodeType], args: tuple[Any, ...]
) -> CodeType:
    """Return code, and let tracebacks find its source where its file is not."""
    if source and not linecache.getline(name, 1):
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    return make(*args).replace(co_filename=name)
