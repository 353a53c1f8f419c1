"""Tracebacks of steps as text, without the frames of this package and of Prefect.

The ledger keeps the text. It is parsed again to group failures: by the frames of the user's own
code, and by the last of them, which is the line that failed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mltraq_prefect.requirements import is_importable

PACKAGE = f"{Path(__file__).resolve().parents[1]}{os.sep}"

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+)(?:,)? in (?P<function>.*)$')
HEAD = "Traceback (most recent call last):"
_STEP = re.compile(
    rf"step (?:(?P<raised>[^\n]+?): {re.escape(HEAD)}"
    r"|(?P<quote>['\"])(?P<refused>[^\n]+?)(?P=quote) )"
)


class Frame(NamedTuple):
    """A frame of a traceback in text.

    Attributes:
        file: Path of its source file.
        line: Number of the line.
        function: Name of the function.
        text: Its lines, with the source if it is known.
    """

    file: str
    line: int
    function: str
    text: str


def type_name(error: BaseException) -> str:
    """Return the name of an error's type, as tracebacks show it."""
    kind = type(error)
    builtin = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if builtin else f"{kind.__module__}.{kind.__qualname__}"


def describe_error(step: str, error: BaseException) -> str:
    """Return the name of the step and the traceback, from the user's code on."""
    shown = traceback.TracebackException.from_exception(error)
    _cut(shown, set())
    text = "".join(shown.format()).rstrip()
    return f"step {step}: {text}"


def _cut(shown: traceback.TracebackException, seen: set[int]) -> None:
    """Remove frames from an error, and from its causes."""
    if id(shown) in seen:
        return
    seen.add(id(shown))
    frames = [frame for frame in shown.stack if not frame.filename.startswith(_not_shown())]
    shown.stack = traceback.StackSummary.from_list(frames)
    others = getattr(shown, "exceptions", None) or ()
    for other in (shown.__cause__, shown.__context__, *others):
        if other is not None:
            _cut(other, seen)


def step_of(error: str) -> str | None:
    """Return the step that an error of a run says it is of; None if it does not say so."""
    found = _STEP.match(error)
    return None if found is None else found["raised"] or found["refused"]


def is_shown(line: str) -> bool:
    """Return whether a line of a traceback is no frame of this package or of Prefect."""
    found = _FRAME.match(line)
    return found is None or not found["file"].startswith(_not_shown())


@cache
def _not_shown() -> tuple[str, ...]:
    spec = importlib.util.find_spec("prefect") if is_importable("prefect") else None
    prefect = list(spec.submodule_search_locations or ()) if spec is not None else []
    return (PACKAGE, *(f"{folder}{os.sep}" for folder in prefect))


def begin_at_users_code(error: BaseException | None) -> BaseException | None:
    """Remove the leading frames of this package from the traceback of an error; return the error.

    The last frame stays, so that a debugger is at the line that raised.
    """
    trace = None if error is None else error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        trace = trace.tb_next
    return error if error is None or trace is None else error.with_traceback(trace)


def headline(error: str) -> str:
    """Return the most informative line of an error: the one below a traceback, else the first."""
    if HEAD not in error:
        return error.partition("\n")[0]
    return message(error).partition("\n")[0]


def message(error: str) -> str:
    """Return the text below the last frame of a traceback: type and message of the error."""
    lines = error.rpartition(HEAD)[2].splitlines()[1:]
    start = next((index for index, line in enumerate(lines) if not line.startswith("  ")), 0)
    return "\n".join(lines[start:])


def users_frames(error: str) -> list[Frame]:
    """Return the frames of the user's own code in the last error of a traceback.

    If there are none, all frames are returned: functions of libraries may be steps.
    """
    block = error.rpartition(HEAD)[2]
    frames = list(_frames(block))
    own = [frame for frame in frames if not frame.file.startswith(_libraries())]
    if HEAD not in error:
        frames.reverse()  # of a worker that was killed: innermost call first
        own.reverse()
    return own or frames


def _frames(block: str) -> Iterator[Frame]:
    match: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*block.splitlines(), ""]:
        begins = _FRAME.match(line)
        if match is not None and (begins or not line.startswith("    ")):
            yield Frame(match["file"], int(match["line"]), match["function"], "\n".join(lines))
            match = None
        if begins:
            match, lines = begins, []
        if match is not None:
            lines.append(line)


@cache
def _libraries() -> tuple[str, ...]:
    """Return the prefixes of paths whose code is not the user's own."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return ("<frozen ", PACKAGE, *(f"{folder}{os.sep}" for folder in sorted(folders)))
