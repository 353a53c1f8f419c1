"""Which modules another process can import as they are in this one."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from mltraq_prefect.execution.fingerprints.modules import owner, owner_of


def search_path() -> list[str]:
    """Return `sys.path` for a process with another current directory."""
    return [str(Path(entry).absolute()) for entry in sys.path if isinstance(entry, str)]


def modules_of_this_process_alone() -> list[ModuleType]:
    """Return the user's modules that another process would not find, or would find elsewhere.

    Such modules are made from text, are loaded from files outside of `sys.path`, or were imported
    before `sys.path`, the finders or the current directory changed.
    """
    return [
        module
        for name, module in [*sys.modules.items()]
        if isinstance(module, ModuleType)
        and module.__name__ == name
        and name not in ("__main__", "__mp_main__")
        and owner(vars(module)) == "user"
        and "__builtins__" in vars(module)  # Python code was executed in it: no extension's
        and not _is_found(module)
    ]


def _is_found(module: ModuleType) -> bool:
    parent = sys.modules.get(module.__name__.rpartition(".")[0])
    path = search_path() if parent is None else [*getattr(parent, "__path__", ())]
    if _is_same(module, PathFinder.find_spec(module.__name__, path)):
        return True
    # Finders that are installed, such as those of editable installs, are in each process.
    finders = [finder for finder in sys.meta_path if _owner_of_finder(finder) == "installed"]
    return any(_is_same(module, finder.find_spec(module.__name__, path)) for finder in finders)


def _owner_of_finder(finder: object) -> str:
    return owner_of(finder if isinstance(finder, type) else type(finder))


def _is_same(module: ModuleType, spec: ModuleSpec | None) -> bool:
    if spec is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None or spec.origin is None:
        return file is spec.origin
    return Path(file).resolve() == Path(spec.origin).resolve()
