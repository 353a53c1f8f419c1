"""Crash report of a worker process: what it executed when it ended.

Worker and parent share a file. It holds the index of the current run, then the traceback that
`faulthandler` writes when a run exceeds its time or the interpreter crashes. The file is read only
after the worker has ended. So it needs no lock, and works for a worker that holds the GIL.
"""

from __future__ import annotations

import faulthandler
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from mltraq_prefect.execution.tracebacks import is_shown

NO_RUN = -1

_INDEX = struct.Struct("q")
_TIMEOUT = "Timeout ("
_TRACE_BYTES = 100_000


class Recorder:
    """One end of the file.

    Args:
        file: Descriptor of the file, shared by worker and parent.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    # -- in the worker ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start recording; a crash of the interpreter leaves its traceback from now on."""
        self.note(NO_RUN)
        os.lseek(self._file, _INDEX.size, os.SEEK_SET)
        faulthandler.enable(self._file)

    def note(self, index: int) -> None:
        """Record the index of the current run."""
        os.pwrite(self._file, _INDEX.pack(index), 0)

    @contextmanager
    def watching(self, index: int, timeout_seconds: float | None) -> Iterator[None]:
        """Record the index of the current run, and end the process if it takes too long."""
        self.note(index)
        if timeout_seconds is None:
            yield
            return
        faulthandler.dump_traceback_later(timeout_seconds, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    # -- in its parent, after its end ------------------------------------------------------------

    def index(self) -> int:
        """Return the index of the last run of the worker, or `NO_RUN`."""
        packed = os.pread(self._file, _INDEX.size, 0)
        return int(_INDEX.unpack(packed)[0]) if len(packed) == _INDEX.size else NO_RUN

    def has_begun(self) -> bool:
        """Return whether the worker has recorded anything."""
        return os.fstat(self._file).st_size > 0

    def timed_out(self) -> bool:
        """Return whether a run exceeded its time."""
        return self._trace().startswith(_TIMEOUT)

    def stack(self) -> str:
        """Return the frames of the step that was executed, innermost first; empty if unknown."""
        frames: list[str] = []
        for line in self._trace().splitlines():
            if not line.startswith("  File "):
                frames = []
            elif "execution/attempt.py" in line.replace("\\", "/"):
                return "\n".join(frames)
            elif is_shown(line):
                frames.append(line)
        return ""

    def _trace(self) -> str:
        return os.pread(self._file, _TRACE_BYTES, _INDEX.size).decode("utf-8", "replace")
