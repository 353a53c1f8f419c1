"""What a step raised, as text for a person: without frames of this package or of Prefect.

The text is what the ledger keeps. It is read again where failures are grouped: the frames that are
the user's own, and the last of them, which is the place of the failure.
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

PACKAGE = f"{Path(__file__).resolve().parents[1]}{os.sep}"

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+)(?:,)? in (?P<function>.*)$')
HEAD = "Traceback (most recent call last):"


class Frame(NamedTuple):
    """A frame of a traceback in text.

    Attributes:
        file: Where its code is.
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
    """Return name of the step and traceback of what it raised, from the user's code on."""
    shown = traceback.TracebackException.from_exception(error)
    _cut(shown, set())
    text = "".join(shown.format()).rstrip()
    return f"step {step}: {text}"


def _cut(shown: traceback.TracebackException, seen: set[int]) -> None:
    """Take frames from an error and from those that led to it."""
    if id(shown) in seen:
        return
    seen.add(id(shown))
    frames = [frame for frame in shown.stack if not frame.filename.startswith(_not_shown())]
    shown.stack = traceback.StackSummary.from_list(frames)
    others = getattr(shown, "exceptions", None) or ()
    for other in (shown.__cause__, shown.__context__, *others):
        if other is not None:
            _cut(other, seen)


@cache
def _not_shown() -> tuple[str, ...]:
    found = importlib.util.find_spec("prefect")
    prefect = list(found.submodule_search_locations or ()) if found is not None else []
    return (PACKAGE, *(f"{folder}{os.sep}" for folder in prefect))


def headline(error: str) -> str:
    """Return the line of an error that says most: that below a traceback, else the first."""
    if HEAD not in error:
        return error.partition("\n")[0]
    return message(error).partition("\n")[0]


def message(error: str) -> str:
    """Return what a traceback says below its last frame: type and message of the error."""
    lines = error.rpartition(HEAD)[2].splitlines()[1:]
    start = next((at for at, line in enumerate(lines) if not line.startswith("  ")), 0)
    return "\n".join(lines[start:])


def users_frames(error: str) -> list[Frame]:
    """Return the frames of the user's own code of the error that was raised last.

    All frames, if none is the user's own: libraries may be given as steps.
    """
    block = error.rpartition(HEAD)[2]
    frames = list(_frames(block))
    own = [frame for frame in frames if not frame.file.startswith(_libraries())]
    if HEAD not in error:
        frames.reverse()  # of a worker that was killed: innermost call first
        own.reverse()
    return own or frames


def _frames(block: str) -> Iterator[Frame]:
    found: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*block.splitlines(), ""]:
        begins = _FRAME.match(line)
        if found is not None and (begins or not line.startswith("    ")):
            yield Frame(found["file"], int(found["line"]), found["function"], "\n".join(lines))
            found = None
        if begins:
            found, lines = begins, []
        if found is not None:
            lines.append(line)


@cache
def _libraries() -> tuple[str, ...]:
    """Return the folders whose code is not the user's own."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return ("<frozen ", PACKAGE, *(f"{folder}{os.sep}" for folder in sorted(folders)))
