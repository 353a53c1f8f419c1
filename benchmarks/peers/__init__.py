"""Other packages, measured in an interpreter of their own, as they need other versions of ours.

``MLTRAQ_PEERS_PYTHON`` names that interpreter; `make bench` makes one. The modules here run in it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VARIABLE = "MLTRAQ_PEERS_PYTHON"
ROOT = Path(__file__).parents[2]


class Peer:
    """A module of this package that answers one question after the other.

    So it can take turns with what it is compared with, and noise hits both alike.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: str) -> Any:
        """Return what it prints as JSON for a line."""
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        print(question, file=questions, flush=True)
        if not (answer := answers.readline()):
            raise RuntimeError(f"{self._process.args!r} has ended")
        return json.loads(answer)


@contextmanager
def peer(module: str, *arguments: str) -> Iterator[Peer | None]:
    """Start a module of this package; yield None without an interpreter for it."""
    command = _command(module, *arguments)
    if command is None:
        yield None
        return
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=_environment(), stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield Peer(process)
        if process.stdin is not None:
            process.stdin.close()


def ask(module: str, *arguments: str) -> Any:
    """Return what a module of this package prints as JSON; None without an interpreter for it."""
    command = _command(module, *arguments)
    if command is None:
        return None
    found = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(f"{module} failed:\n{found.stderr}")
    return json.loads(found.stdout.splitlines()[-1])


def _command(module: str, *arguments: str) -> list[str] | None:
    python = os.environ.get(VARIABLE)
    if python is None:
        return None
    return [str(Path(python).absolute()), "-m", f"benchmarks.peers.{module}", *arguments]


def _environment() -> dict[str, str]:
    return os.environ | {"TQDM_DISABLE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
