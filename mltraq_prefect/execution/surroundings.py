"""What the process of a step has around it that only some steps need: entered when they need it.

`orchestration` hands it in, as steps shall find the run of Prefect in which they are executed.
A worker whose steps do not import Prefect shall not wait for it.
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


class Surroundings(NamedTuple):
    """A context for steps.

    Attributes:
        module: It is entered as soon as this module has been imported.
        environment: Variables that the module is to find when it is imported, unless they are set.
        packed: Pickle of a context manager.
    """

    module: str
    environment: dict[str, str]
    packed: bytes


def set_environment(surroundings: Surroundings | None) -> None:
    """Set the variables of surroundings, before anything is imported for a step."""
    for name, value in surroundings.environment.items() if surroundings else ():
        os.environ[name] = os.environ.get(name) or value


@contextmanager
def surrounded(surroundings: Surroundings | None) -> Iterator[None]:
    """Be in the surroundings, as soon as their module has been imported."""
    if surroundings is None:
        yield
        return
    stack = ExitStack()
    finder = _Finder(surroundings, stack)
    if surroundings.module in sys.modules:
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

    def __init__(self, surroundings: Surroundings, stack: ExitStack) -> None:
        self._surroundings = surroundings
        self._stack = stack
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, *_: Any) -> ModuleSpec | None:
        if fullname != self._surroundings.module or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None and threading.get_ident() == self._thread:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def enter(self) -> None:
        self._stack.enter_context(unpickled(self._surroundings.packed))


class _Loader(Loader):
    """Loads the module as its own loader does, and enters the surroundings then."""

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
