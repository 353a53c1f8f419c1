"""All of the user's own code that something reaches, and what that code reads."""

from __future__ import annotations

import builtins
import enum
import functools
import importlib
import importlib.util
import logging
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mltraq_prefect.execution.fingerprints.manifest import (
    PYTHON,
    Manifest,
    ModuleReads,
    version_part,
)
from mltraq_prefect.execution.fingerprints.modules import (
    file_of,
    globals_of,
    installed_version,
    is_main,
    is_of_module,
    is_package,
    label,
    owner,
    owner_of,
    top_level,
)
from mltraq_prefect.execution.fingerprints.reads import Import, Read, names_in, reads_of
from mltraq_prefect.execution.fingerprints.values import (
    CHOSEN,
    NAMED_LATER,
    Values,
    captured,
    combined,
    defaults_of,
    name_of,
)
from mltraq_prefect.execution.generators import refuse_generators
from mltraq_prefect.model.identity import Buffers, code_digest

_logger = logging.getLogger("mltraq_prefect")

_PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_DYNAMIC = {
    "exec": "executes",
    "eval": "executes",
    "__import__": "imports",
    "globals": "is asked for",
}
_FOUND = "__subclasses__"
_FUNCTIONS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
_NO_ATTRIBUTES = (types.MemberDescriptorType, types.GetSetDescriptorType)

_SHOWN = (version_part(""), "int ", "float ", "bool ", "NoneType ")
"""What parts show as it is: versions, and values that are no text, which may be secret."""

_told: set[tuple[str, str]] = set()


class Reach:
    """Follows code and values, each once, and notes a digest for each by its name.

    Args:
        subject: What is followed, for a person, such as ``step 'train'``.
        buffers: Encodes values of the types that can be stored.
    """

    def __init__(self, subject: str, buffers: Buffers | None) -> None:
        self._subject = subject
        self._parts: dict[str, dict[str, set[str]]] = {PYTHON: {"": {_PYTHON_VERSION}}}
        self._waiting: deque[Any] = deque()
        self._met: dict[int, Any] = {}
        self._functions: dict[str, types.FunctionType] = {}
        self._classes: dict[str, type] = {}
        self._globals: dict[str, set[str]] = {}
        self._imports: set[str] = set()
        self._place = ""
        self._is_quiet = False
        self._values = Values(buffers, self._meet, self._give_up)

    def value(self, name: str, value: Any, file: str = "") -> None:
        """Note a value, and follow the code that it leads to.

        Args:
            name: What it is, for a person.
            value: Anything.
            file: Of the module that has it: two of them may be called the same.

        Raises:
            InvalidStep: It is a generator of random numbers.
        """
        self._place = name
        if not self._is_quiet:
            refuse_generators(self._subject, name, value)
        self._note(name, self._values.digest(value), file)

    def manifest(self) -> Manifest:
        """Follow what was met; return all parts."""
        while self._waiting:
            self._visit(self._waiting.popleft())
        parts = {name: _joined(found) for name, found in self._parts.items()}
        names = {module: frozenset(found) for module, found in self._globals.items()}
        reads = ModuleReads(names, frozenset(self._imports))
        return Manifest(parts, self._functions, self._classes, reads)

    def _note(self, name: str, digest: str, file: str = "") -> None:
        is_shown = digest.startswith(_SHOWN) or name.startswith(_SHOWN)
        found = self._parts.setdefault(name, {}).setdefault(file, set())
        found.add(digest if is_shown else combined(digest))

    def _note_global(self, namespace: Mapping[str, Any], name: str) -> None:
        """Note that a global is read, unless it is of the program itself, or of no module."""
        if is_of_module(namespace):
            self._globals.setdefault(namespace["__name__"], set()).add(name)

    def _note_own_global(self, namespace: Mapping[str, Any], qualified_name: str) -> None:
        """Note the global that a function or class, or what it is defined in, can be found by."""
        name = qualified_name.partition(".")[0]
        if "<locals>" not in qualified_name and name in namespace:
            self._note_global(namespace, name)

    def _meet(self, value: Any) -> None:
        if id(value) not in self._met:
            self._met[id(value)] = value
            self._waiting.append(value)

    def _give_up(self, value: Any, reason: str) -> None:
        """Say once what is not followed: a change of it will not be noticed."""
        self._say(f"{self._place}, a {type(value).__qualname__}", reason or "it has no exact value")

    def _say(self, what: str, reason: str) -> None:
        if self._is_quiet or (self._subject, what) in _told:
            return
        _told.add((self._subject, what))
        _logger.warning(
            "%s reads what cannot be followed: %s (%s); checkpoints do not notice if it changes",
            self._subject,
            what,
            reason,
        )

    def _visit(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, types.ModuleType):
            self._module(value)
        else:
            self._version(getattr(value, "__module__", None) or "builtins")

    def _version(self, module: str) -> None:
        namespace = globals_of(module)
        whose = owner(namespace)
        if whose == "installed":
            package = top_level(module)
            self._note(version_part(package), installed_version(package))
        elif whose == "user" and str(namespace.get("__file__") or "").endswith((".so", ".pyd")):
            self._place = f"module {module}"
            self._give_up(sys.modules.get(module), "it is compiled")

    # -- functions and classes -----------------------------------------------------------------

    def _function(self, function: types.FunctionType) -> None:
        if (wrapped := getattr(function, "__wrapped__", None)) is not None:
            self._meet(wrapped)
        name = name_of(function)
        if owner(function.__globals__) != "user":
            self._version(str(function.__globals__.get("__name__") or "builtins"))
            self._wrapper(function, name)
            return
        file = file_of(function.__globals__)
        self._note(f"code in {name}", code_digest(function.__code__), file)
        self._functions.setdefault(name, function)
        self._note_own_global(function.__globals__, function.__qualname__)
        for argument, value in defaults_of(function):
            self.value(f"default of {argument} in {name}", value, file)
        self._captured(function, name)
        for read in reads_of(function.__code__):
            self._read(read, function.__globals__)
        if _FOUND in names_in(function.__code__):
            what = f"what {_FOUND}() finds in {name}"
            self._say(what, "it depends on which modules are imported")

    def _wrapper(self, function: types.FunctionType, name: str) -> None:
        """Follow what a decorator of somebody else holds; Python's own may hold it otherwise."""
        if "<locals>" not in function.__code__.co_qualname:
            return
        self._is_quiet = True
        if owner(function.__globals__) == "installed":
            self._captured(function, name)
        else:
            for value in captured(function):
                self._values.digest(value)
        self._is_quiet = False

    def _captured(self, function: types.FunctionType, name: str) -> None:
        names = function.__code__.co_freevars
        for variable, value in zip(names, captured(function), strict=True):
            if variable == "__class__":
                self._meet(value)
            else:
                file = file_of(function.__globals__)
                self.value(f"value of {variable} captured by {name}", value, file)

    def _class(self, kind: type) -> None:
        if owner_of(kind) != "user":
            self._version(kind.__module__)
            return
        name, file = name_of(kind), file_of(globals_of(kind.__module__))
        self._classes.setdefault(name, kind)
        self._note_own_global(globals_of(kind.__module__), kind.__qualname__)
        if type(kind) is not type:
            self._meet(type(kind))
        self.value(f"bases of class {name}", kind.__bases__, file)
        for attribute, value in _attributes(kind):
            self.value(f"value of {attribute} in class {name}", value, file)

    # -- modules and globals ---------------------------------------------------------------------

    def _read(self, read: Read, namespace: Mapping[str, Any]) -> None:
        if isinstance(read.root, Import):
            for value, name, module in self._imported(read.root, namespace):
                self._follow(value, name, module, read.attributes)
        elif read.root in namespace:
            if not _is_dunder(read.root):
                self._note_global(namespace, read.root)
                self._follow(namespace[read.root], read.root, namespace, read.attributes)
        elif read.root in _DYNAMIC:
            what = f"what {read.root}() {_DYNAMIC[read.root]} in module {label(namespace)}"
            self._say(what, "it is made while the step runs")
        elif not hasattr(builtins, read.root):
            self._note_global(namespace, read.root)  # a step may set it

    def _follow(
        self, value: Any, name: str, module: Mapping[str, Any], attributes: tuple[str, ...]
    ) -> None:
        """Follow a global, or what is taken from it if it is a module."""
        rest = list(attributes)
        while isinstance(value, types.ModuleType):
            if owner(vars(value)) != "user":
                self._foreign(value, rest)
                return
            if not rest:
                self._meet(value)
                return
            name, module = rest.pop(0), vars(value)
            if _is_dunder(name):
                return
            self._note_global(vars(value), name)  # a step may set it
            if not self._has(value, name):
                return
            value = getattr(value, name)
        if self._say_if_chosen(value):
            return
        self.value(f"value of {name} in module {label(module)}", value, file_of(module))
        if isinstance(value, types.FunctionType) and rest and rest[0] in vars(value):
            own = f"value of {rest[0]} in {name_of(value)}"
            self.value(own, vars(value)[rest[0]], file_of(value.__globals__))

    def _foreign(self, module: types.ModuleType, attributes: list[str]) -> None:
        self._version(module.__name__)
        for name in attributes[:1]:
            self._say_if_chosen(vars(module).get(name))  # getattr may import, and raise

    def _say_if_chosen(self, value: Any) -> bool:
        """Say that what a value gives is not followed, if it is such a one; return whether."""
        name = CHOSEN.get(id(value))
        if name is not None:
            self._say(f"what {name} is asked for", NAMED_LATER)
        return name is not None

    def _imported(
        self, statement: Import, namespace: Mapping[str, Any]
    ) -> Iterator[tuple[Any, str, Mapping[str, Any]]]:
        package = namespace.get("__package__") or ""
        dots = "." * statement.level
        try:
            name = importlib.util.resolve_name(f"{dots}{statement.module}", package)
            module = self._loaded(name)
        except (ImportError, ValueError, AttributeError) as error:
            self._place = f"module {dots}{statement.module}"
            self._give_up(None, f"{type(error).__name__}: {error}")
            return
        if module is None:
            return
        if owner(vars(module)) == "user" and module.__name__ != "__main__":
            self._imports.add(name)
        if statement.attribute is None:
            yield module, name, vars(module)
        elif owner(vars(module)) != "user":
            self._version(name)
        elif self._has(module, statement.attribute):
            self._note_global(vars(module), statement.attribute)
            yield getattr(module, statement.attribute), statement.attribute, vars(module)

    def _has(self, module: types.ModuleType, name: str) -> bool:
        """Return whether a module has an attribute, or a module in it that can be imported."""
        try:
            if hasattr(module, name):
                return True
            inner = self._loaded(f"{module.__name__}.{name}") if is_package(module) else None
        except Exception as error:
            self._place = f"{name} of module {module.__name__}"
            self._give_up(None, f"{type(error).__name__}: {error}")
            return False
        return inner is not None

    def _loaded(self, name: str) -> types.ModuleType | None:
        """Return a module of the user; note the version of another one, which is not imported."""
        if name in sys.modules:
            return sys.modules[name]
        top = importlib.util.find_spec(top_level(name))
        if top is None:
            return None
        places = list(top.submodule_search_locations or ())
        whose = owner({"__name__": name, "__file__": top.origin, "__path__": places})
        if whose == "installed":
            self._note(version_part(top_level(name)), installed_version(top_level(name)))
        spec = importlib.util.find_spec(name) if whose == "user" else None
        return None if spec is None else is_main(spec.origin) or _import(name)

    def _module(self, module: types.ModuleType) -> None:
        """Follow all of a module that is used as a value."""
        if owner(vars(module)) != "user":
            self._version(module.__name__)
            return
        for name, value in list(vars(module).items()):
            if not _is_dunder(name):
                self._note_global(vars(module), name)
                self._follow(value, name, vars(module), ())


def _joined(found: Mapping[str, set[str]]) -> str:
    """Return one digest for all that has the same name: by the order of the files it is in."""
    digests = [
        digest if len(found) == 1 else combined(str(place), digest)
        for place, file in enumerate(sorted(found))
        for digest in found[file]
    ]
    return digests[0] if len(digests) == 1 else combined(*sorted(digests))


def _import(name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ImportError(f"{type(error).__name__}: {error}") from error


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _attributes(kind: type) -> Iterable[tuple[str, Any]]:
    """Yield the attributes of a class that its user wrote, and the methods that were made."""
    members = kind.__members__ if issubclass(kind, enum.Enum) else {}
    for name, value in vars(kind).items():
        if name in members or name == "_abc_impl" or isinstance(value, _NO_ATTRIBUTES):
            continue
        if not (name.startswith("_") and name.endswith("_")) or isinstance(value, _FUNCTIONS):
            yield name, value
    yield from ((name, member._value_) for name, member in members.items())
    for name, field in (getattr(kind, "__pydantic_fields__", None) or {}).items():
        yield name, [field.default, field.default_factory]
