"""Tracebacks as IPython shows them, with the frames of the user alone."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path


def users_traceback(error: BaseException) -> list[str]:
    """Return the lines of a traceback without frames of this package and of IPython.

    Args:
        error: Was raised.
    """
    files = (__file__, str(getattr(sys.modules.get("IPython"), "__file__", __file__)))
    hidden = tuple(f"{Path(file).resolve().parent}{os.sep}" for file in files)
    shown = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in shown.stack if not frame.filename.startswith(hidden)]
    shown.stack = traceback.StackSummary.from_list(frames)
    return "".join(shown.format()).splitlines()
