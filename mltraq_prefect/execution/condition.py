"""Whether a worker process is as good as a new one, after what steps have done in it."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
import time
from pathlib import Path
from types import ModuleType

_INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class Condition:
    """What a worker process was like when it began to work."""

    def __init__(self) -> None:
        self._started = time.time()
        self._environ = dict(os.environ)
        self._directory = _directory()
        self._threads = threading.active_count()

    def is_as_new(self) -> bool:
        """Return whether a new process would execute a step no differently.

        Not if steps have changed directory or environment, or have left threads or processes; nor
        if a module was changed since, other than those of installed packages.
        """
        return (
            os.environ == self._environ
            and _directory() == self._directory
            and threading.active_count() <= self._threads
            and not _has_children()
            and all(map(self._is_unchanged, list(sys.modules.values())))
        )

    def _is_unchanged(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        if file is None or file.startswith(_INSTALLED):
            return True
        try:
            return Path(file).stat().st_mtime <= self._started
        except OSError:
            return False


def _directory() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
