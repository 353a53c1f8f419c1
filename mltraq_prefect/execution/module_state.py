"""What steps read from modules and may change there: in a worker, each run finds it as it was.

Of the globals that the code of a step reaches, the contents are noted before the first run, and
compared by identity after each one. What has changed is put back in place, so that whoever else
refers to it sees the same object as before. `functools.cache` is left alone.
"""

from __future__ import annotations

import importlib
import sys
from collections import deque
from contextlib import suppress
from typing import Any

from mltraq_prefect.execution.contents import (
    Content,
    contents_of,
    globals_content,
    is_constant,
)
from mltraq_prefect.execution.copies import AtRest, fresh
from mltraq_prefect.execution.fingerprints import ModuleReads

MOST = 1_000_000
"""So many objects that a step reaches are looked after."""


class ModuleState:
    """The globals that a step reaches.

    Args:
        reads: What it reads from modules.
    """

    def __init__(self, reads: ModuleReads) -> None:
        self._reads = reads
        self._contents: list[tuple[str, Content]] = []
        self._met: dict[int, Any] = {}
        self._is_watching = False

    def watch(self, kwargs: AtRest) -> None:
        """Note the globals as they are, the first time; import the modules that they are in.

        Args:
            kwargs: Of the runs; they may need modules that the step does not import.
        """
        if self._is_watching:
            return
        self._is_watching = True
        with suppress(Exception):
            fresh(kwargs)
        for module in sorted(self._reads.imports):
            with suppress(Exception):  # the step will say so itself
                importlib.import_module(module)
        for module, names in self._reads.names.items():
            if module in sys.modules:
                self._watch_module(module, names)
        self._met.clear()

    def _watch_module(self, module: str, names: frozenset[str]) -> None:
        namespace = vars(sys.modules[module])
        for name in sorted(names):
            label = f"{name} of module {module}"
            self._contents.append((label, globals_content(namespace, name)))
            if name in namespace:
                self._walk(label, namespace[name])

    def _walk(self, label: str, root: Any) -> None:
        waiting = deque([root])
        while waiting and len(self._met) < MOST:
            value = waiting.popleft()
            if is_constant(value) or id(value) in self._met:
                continue
            self._met[id(value)] = value
            contents, further = contents_of(value)
            self._contents += ((label, each) for each in contents)
            waiting.extend(further)

    def restore(self) -> set[str]:
        """Put back what has changed; return the names of the globals that it was found in."""
        changed = set()
        for label, content in self._contents:
            if content.has_changed():
                content.restore()
                changed.add(label)
        return changed


def put_back(step: str, name: str) -> str:
    """Return what to tell about a step that changes a global.

    Args:
        step: Name of the step.
        name: The global for a person.
    """
    return (
        f"step {step!r} changes {name}, which is put back after each run, as runs share nothing: "
        "track results in run.fields; what may be kept is kept by functools.cache"
    )
