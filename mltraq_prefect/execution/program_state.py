"""What steps reach in the program that executes them: they get its own objects.

With one run at a time, each finds it as it was when the execution began. What steps have added to
lists, dicts, sets and deques, perhaps to look at later, is given to the program at the end. Where
several threads execute at the same time they share it, and a warning says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mltraq_prefect.execution.fingerprints import ModuleReads
from mltraq_prefect.execution.frozen_values import FrozenValues
from mltraq_prefect.execution.module_state import ModuleState, restored_warning
from mltraq_prefect.execution.object_contents import Content
from mltraq_prefect.execution.steps import Step

Warn = Callable[[str], None]

_lock = threading.RLock()
_active: list[ProgramState] = []


def _warn(message: str) -> None:
    logging.getLogger("mltraq_prefect").warning("%s", message)


class ProgramState:
    """What steps reach in this program; used as a context manager around their execution.

    Args:
        steps: What is executed.
        kwargs: What runs get copies of.
        is_alone: Whether one run is executed at a time, so that what it changes can be put back.
        warn: Gets the text of each warning.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        kwargs: FrozenValues,
        *,
        is_alone: bool = True,
        warn: Warn = _warn,
    ) -> None:
        self._names = [step.name for step in steps]
        self._kwargs = kwargs
        reads = ModuleReads()
        for step in steps:
            reads = reads.with_those(step.reads)
        self._state = ModuleState(reads, steps, protects=is_alone)
        self._is_alone = is_alone
        self._warn = warn
        self._logged: set[str] = set()
        self._additions: list[tuple[Content, list[Any]]] = []
        self._added_to: set[str] = set()
        self._thread = threading.get_ident()

    def __enter__(self) -> ProgramState:
        with _lock:
            others = [other for other in _active if other._thread != self._thread]
            for each in (self, *others) if others else ():
                each._is_alone = False
            _active.append(self)
            self._state.watch()
            self.watch_code(self._kwargs)
        return self

    def watch_code(self, values: FrozenValues) -> None:
        """Watch the functions and classes that values refer to, too."""
        self._state.watch_code(values)

    def restore_after(self, step: str) -> None:
        """Put back what a run has changed, unless another thread executes runs meanwhile.

        Args:
            step: Name of the step that it was in.
        """
        with _lock:
            if self._is_alone:
                for name in sorted(self._state.restore(self._keep)):
                    is_added = name in self._added_to
                    self._tell(f"{step} {name}", restored_warning(step, name, is_added=is_added))

    def _keep(self, name: str, content: Content, added: list[Any]) -> None:
        self._additions.append((content, added))
        self._added_to.add(name)

    def _tell(self, key: str, message: str) -> None:
        if key not in self._logged:
            self._logged.add(key)
            self._warn(message)

    def __exit__(self, *_exception: object) -> None:
        with _lock:
            _active.remove(self)
            if not self._is_alone:
                for name in sorted(self._state.changed()):
                    self._tell(name, _shared(self._names, name))
            self._state.release()
            for content, added in self._additions:
                content.add(added)


def _shared(steps: Sequence[str], name: str) -> str:
    who = f"step {steps[0]!r}" if len(steps) == 1 else f"one of the steps {', '.join(steps)}"
    return (
        f"{who} changes {name}, which all threads of this process share: results that depend on it "
        "depend on which runs came before, and differ from those of worker processes "
        '(backend="processes"), where each run finds it as it was; track results in run.fields, '
        "keep what is made once by functools.cache"
    )
