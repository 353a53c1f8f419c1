"""Whose code it is: the user's, that of an installed distribution, or Python's own."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

Owner = Literal["user", "installed", "python"]

_INSTALLED = frozenset(("site-packages", "dist-packages"))
_STDLIB = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
_NO_FILES = frozenset(("built-in", "frozen"))
_OWN = __name__.partition(".")[0]


def owner(namespace: Mapping[str, Any]) -> Owner:
    """Return whose code has these globals."""
    return _owner(str(namespace.get("__name__") or ""), _file(namespace))


def owner_of(value: Any) -> Owner:
    """Return whose code has defined a class, or anything else that names its module."""
    name = getattr(value, "__module__", None) or "builtins"
    return owner(globals_of(name))


def globals_of(name: str) -> Mapping[str, Any]:
    """Return the globals of a module, or what is known of it if it is not loaded."""
    module = sys.modules.get(name)
    return {"__name__": name} if module is None else vars(module)


def file_of(namespace: Mapping[str, Any]) -> str:
    """Return the path of the file that a module is in, or nothing if it is in none."""
    return _file(namespace) or ""


def _file(namespace: Mapping[str, Any]) -> str | None:
    file = namespace.get("__file__")
    if file is None and (path := namespace.get("__path__")):
        file = next(iter(path), None)
    return None if file is None or file in _NO_FILES else str(file)


@functools.lru_cache(maxsize=4096)
def _owner(name: str, file: str | None) -> Owner:
    top = name.partition(".")[0]
    if top == _OWN:
        return "installed"
    if file is None:
        return "python" if top in sys.stdlib_module_names and name != "__main__" else "user"
    if not _INSTALLED.isdisjoint(Path(file).parts):
        return "installed"
    path = Path(file).resolve()
    return "python" if any(path.is_relative_to(folder) for folder in _STDLIB) else "user"


def label(namespace: Mapping[str, Any]) -> str:
    """Return what to call a module: the same whether it is imported or run as a script."""
    name = str(namespace.get("__name__") or "")
    file = _file(namespace)
    if file is None or owner(namespace) != "user":
        return name.rpartition(".")[2]
    path = Path(file)
    return path.parent.name if path.stem == "__init__" else path.stem


def top_level(name: str) -> str:
    """Return the import package that a module is in."""
    return name.partition(".")[0]


@functools.lru_cache(maxsize=1024)
def installed_version(package: str) -> str:
    """Return the version of the distribution that an import package comes from."""
    try:
        return version(package)
    except PackageNotFoundError:
        return _version_of_whose_file(package)


def _version_of_whose_file(package: str) -> str:
    """Return the version of the distribution, of another name, which lists a file of a package."""
    folders = [Path(folder) for folder in sys.path if not _INSTALLED.isdisjoint(Path(folder).parts)]
    records = [record for folder in folders for record in folder.glob("*.dist-info/RECORD")]
    starts = tuple(f"\n{package}{end}".encode() for end in ("/", ".py,"))
    for record in sorted(records, key=lambda path: path.stat().st_size):
        lines = b"\n" + record.read_bytes()
        if any(start in lines for start in starts):
            return record.parent.stem.partition("-")[2]
    return "unknown"


def is_main(file: str | None) -> ModuleType | None:
    """Return the module that is being run as a script, if a file is the one that it is in."""
    main = sys.modules.get("__main__")
    running = getattr(main, "__file__", None)
    if main is None or running is None or file is None:
        return None
    return main if Path(running).resolve() == Path(file).resolve() else None


def is_of_module(namespace: Mapping[str, Any]) -> bool:
    """Return whether globals are those of a loaded module, but not of the program itself."""
    name = str(namespace.get("__name__") or "")
    module = sys.modules.get(name)
    return name != "__main__" and module is not None and vars(module) is namespace


def is_package(module: ModuleType) -> bool:
    """Return whether a module may have others in it."""
    return hasattr(module, "__path__")
