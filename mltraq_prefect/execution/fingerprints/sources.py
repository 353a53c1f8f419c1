"""The source text of code that is loaded, if a file or a cell still has just that."""

from __future__ import annotations

import dis
import functools
import inspect
import linecache
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType, MappingProxyType

from mltraq_prefect.model.identity import code_digest

MAX_SOURCE = 20_000
"""Characters of one function that are kept at most."""

MAX_SOURCES = 200_000
"""Characters of all functions that a step reaches that are kept at most."""

_LITERALS = frozenset((bool, bytes, float, int, str, type(None)))

Codes = Mapping[str, list[CodeType]]


def sources_of(
    functions: Mapping[str, FunctionType], classes: Mapping[str, type] = MappingProxyType({})
) -> dict[str, str]:
    """Return the source texts of functions and classes by their names, those that are known.

    That of a class has its methods.
    """
    room = MAX_SOURCES

    def known(texts: Iterable[tuple[str, str | None]]) -> dict[str, str]:
        nonlocal room
        found = {}
        for name, text in texts:
            if text is not None and len(text) <= min(room, MAX_SOURCE):
                found[name] = text
                room -= len(text)
        return found

    whole = known((name, source_of_class(kind)) for name, kind in classes.items())
    within = tuple(f"{name}." for name in whole)
    alone = {name: own for name, own in functions.items() if not name.startswith(within)}
    return known((name, source_of(own.__code__)) for name, own in alone.items()) | whole


def source_of(code: CodeType) -> str | None:
    """Return the source text of a code object; None if it is gone, or has been edited since."""
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    for found in _compiled("".join(lines)).get(code.co_qualname, ()):
        if code_digest(found) == code_digest(code):
            return _block(lines[found.co_firstlineno - 1 :])
    return None


def source_of_class(kind: type) -> str | None:
    """Return the source text of a class; None if it is gone, or has been edited since.

    What the body has computed cannot be compared with a text: then it counts as edited.
    """
    own = vars(kind)
    codes = [code for value in own.values() for code in _codes_of(value)]
    methods = [code for code in codes if code.co_qualname.startswith(f"{kind.__qualname__}.")]
    module = sys.modules.get(kind.__module__)
    places = [code.co_filename for code in methods] or [getattr(module, "__file__", None) or ""]
    linecache.checkcache(places[0])
    lines = linecache.getlines(places[0])
    given = [value for name, value in own.items() if not _is_dunder(name)]
    values = {repr(value) for value in given if type(value) in _LITERALS}
    for body in _compiled("".join(lines)).get(kind.__qualname__, ()):
        inner = {code_digest(code) for code in body.co_consts if isinstance(code, CodeType)}
        literals = {repr(instruction.argval) for instruction in dis.get_instructions(body)}
        if values <= literals and {code_digest(code) for code in methods} <= inner:
            return _block(lines[body.co_firstlineno - 1 :])
    return None


def _codes_of(value: object) -> Iterator[CodeType]:
    """Yield the code of a method, however it is wrapped."""
    if isinstance(value, FunctionType):
        yield value.__code__
    elif isinstance(value, (staticmethod, classmethod)):
        yield from _codes_of(value.__func__)
    elif isinstance(value, functools.cached_property):
        yield from _codes_of(value.func)
    elif isinstance(value, property):
        for function in (value.fget, value.fset, value.fdel):
            yield from _codes_of(function)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


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
