"""What steps reach and may change: each run finds it as it was.

That is the globals of modules that their code reads, and what functions bring along: captured
variables, defaults, attributes, the objects and classes that these lead to. Contents are noted
before the first run, and compared by identity after each one. What has changed is put back in
place: all references to it see the same object as before. `functools.cache` is left alone.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from mltraq_prefect.execution.content_kinds import (
    Part,
    contents_of,
    globals_content,
    is_large,
    parts_of_function,
)
from mltraq_prefect.execution.fingerprints import ModuleReads
from mltraq_prefect.execution.fingerprints.modules import is_of_module, owner
from mltraq_prefect.execution.fingerprints.reads import reads_of
from mltraq_prefect.execution.frozen_values import FrozenValues, LocalValues, thaw
from mltraq_prefect.execution.object_contents import Content, is_constant
from mltraq_prefect.execution.steps import Step

MAX_OBJECTS = 1_000_000
"""The largest number of objects that are watched."""

Keep = Callable[[str, Content, list[Any]], None]


class ModuleState:
    """What steps reach.

    Args:
        reads: What they read from modules.
        steps: Those that are the same objects in each run.
        protects: Whether large arrays, which are not compared, are made read-only.
    """

    def __init__(
        self, reads: ModuleReads, steps: Iterable[Step] = (), *, protects: bool = True
    ) -> None:
        self._reads = reads
        self._steps = steps
        self._protects = protects
        self._contents: list[tuple[str, Content]] = []
        self._seen: dict[int, Any] = {}
        self._names: set[tuple[int, str]] = set()
        self._waiting: deque[tuple[str, Any]] = deque()
        self._large: list[np.ndarray[Any, Any]] = []
        self._missing = dict(reads.names)
        self._is_watching = False

    def watch_before(self, kwargs: FrozenValues, params: FrozenValues) -> None:
        """Note all contents as soon as their modules are loaded.

        Args:
            kwargs: Of a run that is about to begin; they may need modules that no step imports.
            params: Of that run.
        """
        if self._is_watching and not self._missing:
            return
        for values in (params,) if self._is_watching else (kwargs, params):
            with suppress(Exception):  # the run will say so itself
                thaw(values)
        self.watch()

    def watch(self) -> None:
        """Note all contents of loaded modules; import those that a step imports."""
        if not self._is_watching:
            self._is_watching = True
            for module in sorted(self._reads.imports):
                with suppress(Exception):  # the step will say so itself
                    importlib.import_module(module)
            for step in self._steps:
                self._waiting.append((f"what {step.name} holds", step.function))
        for module in sorted(self._missing.keys() & sys.modules.keys()):
            self._watch_globals(vars(sys.modules[module]), self._missing.pop(module))
        self._follow()

    def watch_code(self, values: FrozenValues) -> None:
        """Note what functions and classes hold that all copies of some values refer to."""
        for value in values.code() if isinstance(values, LocalValues) else ():
            if id(value) not in self._seen:
                self._waiting.append((f"what {getattr(value, '__name__', '')} holds", value))
        self._follow()

    def _watch_globals(self, namespace: dict[str, Any], names: Iterable[str]) -> None:
        for name in sorted(names):
            if (id(namespace), name) not in self._names:
                self._names.add((id(namespace), name))
                label = f"{name} of module {namespace.get('__name__')}"
                self._contents.append((label, globals_content(namespace, name)))
                if name in namespace:
                    self._waiting.append((label, namespace[name]))

    def _follow(self) -> None:
        while self._waiting and len(self._seen) < MAX_OBJECTS:
            label, value = self._waiting.popleft()
            if is_constant(value) or id(value) in self._seen:
                continue
            self._seen[id(value)] = value
            if is_large(value) and self._protects:
                self._large.append(value)
                value.flags.writeable = False
            with suppress(Exception):  # what refuses to be looked into stays as it is
                for part, contents, further in self._parts(label, value):
                    self._contents += ((part, each) for each in contents)
                    self._waiting.extend((part, each) for each in further)
        self._waiting.clear()

    def _parts(self, label: str, value: Any) -> Iterator[Part]:
        if not isinstance(value, types.FunctionType):
            yield label, *contents_of(value)
            return
        yield from parts_of_function(value)
        namespace = value.__globals__
        if owner(namespace) == "user" and not is_of_module(namespace):
            self._watch_globals(namespace, _globals_of(value.__code__, namespace))

    def changed(self) -> set[str]:
        """Return the names of what has changed."""
        return {label for label, content in self._contents if content.has_changed()}

    def restore(self, keep: Keep | None = None) -> set[str]:
        """Put back what has changed; return the names of that.

        Args:
            keep: Gets what was added to something of which nothing else has changed.
        """
        changed = set()
        for label, content in self._contents:
            if content.has_changed():
                if keep is not None and (added := content.added()):
                    keep(label, content, added)
                content.restore()
                changed.add(label)
        return changed

    def release(self) -> None:
        """Make large arrays writeable again, views after what they are views of."""
        for array in sorted(self._large, key=lambda array: array.base is not None):
            array.flags.writeable = True
        self._large.clear()


def _globals_of(code: types.CodeType, namespace: Mapping[str, Any]) -> set[str]:
    roots = {read.root for read in reads_of(code) if isinstance(read.root, str)}
    return {name for name in roots if name in namespace or not hasattr(builtins, name)}


def restored_warning(step: str, name: str, *, is_added: bool = False) -> str:
    """Return the warning about a step that changes what other runs see.

    Args:
        step: Name of the step.
        name: What it changes, for a person.
        is_added: Whether it is added to, and gets that at the end.
    """
    until = "; what is added to it is there when the execution has ended" if is_added else ""
    return (
        f"step {step!r} changes {name}, which is put back after each run, as runs share "
        f"nothing{until}: track results in run.fields; what may be kept is kept by functools.cache"
    )
