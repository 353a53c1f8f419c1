"""What git says of a folder. It is asked in processes of its own, and never for long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 2.0
"""All questions together take no longer than this."""

MOST_DIFF = 100_000
"""Characters of a diff that are kept."""

_SAFE = ("-c", "core.fsmonitor=false", "-c", "core.quotepath=false", "--no-pager")
_DIFF = ("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules")
_NO_QUESTIONS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

_slow: set[str] = set()
"""Working trees that took too long to be compared; they are not compared again."""


def facts_of(folder: Path, program: Path | None, seconds: float | None = None) -> dict[str, Any]:
    """Return commit, branch, remote, and what was changed since the commit, as far as it is known.

    Args:
        folder: A folder of the working tree.
        program: A file that is executed, which the commit may not have.
        seconds: How long it may take; `SECONDS` if None.
    """
    git = shutil.which("git")
    if git is None or not folder.is_dir():
        return {}
    deadline = time.monotonic() + (SECONDS if seconds is None else seconds)
    asked = _Questions(git, folder, deadline)
    lines = asked.lines("rev-parse", "--show-toplevel", "HEAD", "--abbrev-ref", "HEAD")
    if lines is None or len(lines) != 3:
        return {}
    root, commit, branch = lines
    found: dict[str, Any] = {"git_root": root, "git_commit": commit}
    found["git_branch"] = None if branch == "HEAD" else branch
    found["git_remote"] = "".join(asked.lines("config", "--get", "remote.origin.url") or ()) or None
    if root not in _slow:
        found |= _changes(asked, root, program)
    return found


def _changes(asked: _Questions, root: str, program: Path | None) -> dict[str, Any]:
    diff = asked.text(*_DIFF, most=MOST_DIFF)
    if diff is None:
        if asked.are_late():
            _slow.add(root)
        return {}
    added = ""
    if program is not None and program.is_relative_to(root):
        tracked = asked.lines("ls-files", "--full-name", "--", str(program))
        if tracked == []:
            added = f"# not in git: {program.relative_to(root).as_posix()}\n"
    if len(diff) > MOST_DIFF:
        diff = diff[: diff.rfind("\n", 0, MOST_DIFF) + 1] + "# and more\n"
    return {"git_dirty": bool(diff or added), "git_diff": added + diff or None}


class _Questions:
    """Asks git, until it is late."""

    def __init__(self, git: str, folder: Path, deadline: float) -> None:
        self._command = (git, *_SAFE, "-C", str(folder))
        self._deadline = deadline

    def are_late(self) -> bool:
        """Return whether there is no time for another question."""
        return time.monotonic() >= self._deadline

    def lines(self, *arguments: str) -> list[str] | None:
        """Return the lines of an answer; None if there is none."""
        text = self.text(*arguments)
        return None if text is None else text.splitlines()

    def text(self, *arguments: str, most: int = 10_000) -> str | None:
        """Return an answer, or a little more than so many characters of it; None without one."""
        return None if self.are_late() else self._asked(arguments, most)

    def _asked(self, arguments: Sequence[str], most: int) -> str | None:
        try:
            process = subprocess.Popen(  # noqa: S603  an absolute path, and nothing of a shell
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | _NO_QUESTIONS,
                start_new_session=True,
            )
        except OSError:
            return None
        with process:
            answer: list[bytes] = []
            stdout = process.stdout

            def read() -> None:
                if stdout is not None:
                    answer.append(stdout.read(4 * most))

            reader = threading.Thread(target=read, name="mltraq git", daemon=True)
            reader.start()
            is_whole = False
            try:
                reader.join(max(0.0, self._deadline - time.monotonic()))
                is_whole = bool(answer) and len(answer[0]) < 4 * most
            finally:
                if not is_whole:  # it may have more to say than is wanted
                    _end(process)
                    reader.join()
        if not answer or (is_whole and process.returncode != 0):
            return None
        text = answer[0].decode("utf-8", "replace")
        return text if is_whole or len(text) > most else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and those that it has started: git may be a script that calls git."""
    if os.name == "nt":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
