"""The flight recorder of a worker process: where it was when it ended.

A file that worker and parent share: the place of the run that is executed, then what
`faulthandler` writes when a run exceeds its time or the interpreter crashes. It is read only after
the worker has ended, so nothing is locked, and it works for a worker that holds the GIL.
"""

from __future__ import annotations

import faulthandler
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

NO_RUN = -1

_PLACE = struct.Struct("q")
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
        """Begin to record; crashes of the interpreter leave their traceback from now on."""
        self.note(NO_RUN)
        os.lseek(self._file, _PLACE.size, os.SEEK_SET)
        faulthandler.enable(self._file)

    def note(self, place: int) -> None:
        """Note which run is executed."""
        os.pwrite(self._file, _PLACE.pack(place), 0)

    @contextmanager
    def watching(self, place: int, timeout_seconds: float | None) -> Iterator[None]:
        """Note which run is executed, and end the process if that takes too long."""
        self.note(place)
        if timeout_seconds is None:
            yield
            return
        faulthandler.dump_traceback_later(timeout_seconds, exit=True, file=self._file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    # -- in its parent, after its end ------------------------------------------------------------

    def place(self) -> int:
        """Return the place of the run that the worker executed last, or `NO_RUN`."""
        packed = os.pread(self._file, _PLACE.size, 0)
        return int(_PLACE.unpack(packed)[0]) if len(packed) == _PLACE.size else NO_RUN

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
            else:
                frames.append(line)
        return ""

    def _trace(self) -> str:
        return os.pread(self._file, _TRACE_BYTES, _PLACE.size).decode("utf-8", "replace")
