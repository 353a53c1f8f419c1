"""Other packages, measured in an interpreter of their own, as they need other versions of ours.

``MLTRAQ_PEERS_PYTHON`` names that interpreter; `make bench` makes one. The modules here run in it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

VARIABLE = "MLTRAQ_PEERS_PYTHON"
ROOT = Path(__file__).parents[2]


def ask(module: str, *arguments: str) -> Any:
    """Return what a module of this package prints as JSON; None without an interpreter for it."""
    python = os.environ.get(VARIABLE)
    if python is None:
        return None
    command = [str(Path(python).absolute()), "-m", f"benchmarks.peers.{module}", *arguments]
    environment = os.environ | {"TQDM_DISABLE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(f"{module} failed:\n{found.stderr}")
    return json.loads(found.stdout.splitlines()[-1])
