"""The source text of code that is loaded, if a file or a cell still has just that."""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
import tokenize
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType

from mltraq_prefect.model.identity import code_digest

MAX_SOURCE = 20_000
"""Characters of one function that are kept at most."""

MAX_SOURCES = 200_000
"""Characters of all functions that a step reaches that are kept at most."""

Codes = Mapping[str, list[CodeType]]


def sources_of(functions: Mapping[str, FunctionType]) -> dict[str, str]:
    """Return the source texts of functions by their names, those that are known."""
    found: dict[str, str] = {}
    room = MAX_SOURCES
    for name, function in functions.items():
        text = source_of(function.__code__)
        if text is not None and len(text) <= min(room, MAX_SOURCE):
            found[name] = text
            room -= len(text)
    return found


def source_of(code: CodeType) -> str | None:
    """Return the source text of a code object; None if it is gone, or has been edited since."""
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    for found in _compiled("".join(lines)).get(code.co_qualname, ()):
        if code_digest(found) == code_digest(code):
            return _block(lines[found.co_firstlineno - 1 :])
    return None


def edited(functions: Mapping[str, FunctionType]) -> list[str]:
    """Return the names of functions whose modules would be others if they were imported now.

    Only functions tell, and only of modules that were loaded from a source file.
    """
    now: dict[str, Codes] = {}
    return [name for name, function in functions.items() if _is_edited(function, now)]


def _is_edited(function: FunctionType, now: dict[str, Codes]) -> bool:
    namespace, code = function.__globals__, function.__code__
    module = sys.modules.get(str(namespace.get("__name__")))
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    if not isinstance(loader, SourceFileLoader) or module is None or vars(module) is not namespace:
        return False
    name = module.__name__
    if name == "__main__":
        return False  # workers get what it is, not where it is from
    if loader.get_filename(name) != code.co_filename:
        return False  # made by a library, such as the methods of a dataclass
    if name not in now:
        now[name] = _imported(loader, name)
    found = now[name].get(code.co_qualname, ())
    return all(code_digest(other) != code_digest(code) for other in found)


def _imported(loader: SourceFileLoader, name: str) -> Codes:
    """Return what an import would give now, by this loader, which may change the source."""
    try:
        code = loader.get_code(name)
    except (OSError, SyntaxError, ValueError):
        code = None
    return {} if code is None else _by_name(code)


def _block(lines: list[str]) -> str | None:
    try:
        return "".join(inspect.getblock(lines))
    except (tokenize.TokenError, SyntaxError):
        return None


@functools.lru_cache(maxsize=64)
def _compiled(text: str) -> Codes:
    """Return the code objects of a source text by their qualified names; nothing is executed."""
    try:
        return _by_name(compile(text, "<source>", "exec", dont_inherit=True))
    except (SyntaxError, ValueError, RecursionError):
        return {}


def _by_name(module: CodeType) -> Codes:
    waiting = [module]
    found: dict[str, list[CodeType]] = {}
    while waiting:
        code = waiting.pop()
        found.setdefault(code.co_qualname, []).append(code)
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return found
