"""A context for steps that is entered when a module is imported.

`orchestration` provides it, so that steps find the Prefect run in which they are executed. A worker
whose steps do not import Prefect does not wait for that import.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

from mltraq_prefect.model.pickling import unpickled


class LazyContext(NamedTuple):
    """A context for steps.

    Attributes:
        module: The context is entered as soon as this module has been imported.
        environment: Environment variables for the import of the module, unless they are set.
        pickled: Pickle of a context manager.
    """

    module: str
    environment: dict[str, str]
    pickled: bytes


def set_environment(context: LazyContext | None) -> None:
    """Set the environment variables of a context, before anything is imported for a step."""
    for name, value in context.environment.items() if context else ():
        os.environ[name] = os.environ.get(name) or value


@contextmanager
def entered_lazily(context: LazyContext | None) -> Iterator[None]:
    """Enter a context as soon as its module has been imported."""
    if context is None:
        yield
        return
    stack = ExitStack()
    finder = _Finder(context, stack)
    if context.module in sys.modules:
        finder.enter()
    else:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        with suppress(ValueError):  # entered by a coroutine, whose context is gone
            stack.close()


class _Finder(MetaPathFinder):
    """Notices the import of the module; in another thread than that of the step it waits."""

    def __init__(self, context: LazyContext, stack: ExitStack) -> None:
        self._context = context
        self._stack = stack
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname != self._context.module or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None and threading.get_ident() == self._thread:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def enter(self) -> None:
        self._stack.enter_context(unpickled(self._context.pickled))


class _Loader(Loader):
    """Loads the module by its own loader, then enters the context."""

    def __init__(self, loader: Loader, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._finder.enter()
