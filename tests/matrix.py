"""What one environment of the matrix can do: ``python -m tests.matrix [STAGE ...]``.

Run by `noxfile.py` in an environment in which a pandas, a NumPy, a Prefect ... of its own is
installed. Prints a line for each stage, and fails if one fails.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

import mltraq_prefect as mltraq
from deployments.local import LocalPrefect, stop

ROOT = Path(__file__).parent.parent
SECONDS = 600
"""How long a deployment may take: modules that nobody has imported before are compiled."""

SLOT_SECONDS, FIRST_SLOT = 120, 15
"""Between flow runs of the deployment; until the first, before which it has to be scheduled."""

NOT_YET = (httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE)
"""What a server answers that has no such deployment, or whose SQLite is busy."""

LIBRARIES = ("prefect", "fastapi", "sqlalchemy", "pandas", "numpy", "pyarrow")
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
CODECS = [
    f"tests/codecs/test_{name}.py" for name in ("stacks", "roundtrip", "many", "json", "hostile")
]
CONTRACT = [f"tests/contract/test_{name}.py" for name in ("values", "modes", "merging", "params")]


def run(*command: str, settings: Mapping[str, str], folder: Path = ROOT) -> str:
    """Run a program with this interpreter, and return what it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | QUIET | {"PYTHONPATH": str(ROOT), "PATH": path} | dict(settings)
    done = subprocess.run(
        [sys.executable, *command], env=environment, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-5000:]}")
    return done.stdout


def readme(folder: Path, settings: Mapping[str, str], options: str = "") -> None:
    """Run README's program, with more options of `execute`."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    folder.mkdir()
    (folder / "tosses.py").write_text(program.replace("execute(", f"execute({options}"))
    printed = run("tosses.py", settings=settings, folder=folder)
    rows = [line.split() for line in printed.splitlines()[-4:]]
    if [row[1] for row in rows] != ["1", "25", "50", "100"]:
        raise RuntimeError(f"README's program printed {printed!r}")


def plain(folder: Path) -> None:
    """README's program where no server is configured: without Prefect."""
    readme(folder / "plain", _no_server(folder))


def script(folder: Path) -> None:
    """The same, and with Prefect's temporary server."""
    plain(folder)
    readme(folder / "temporary", _no_server(folder), 'backend="prefect", ')


def _no_server(folder: Path) -> Mapping[str, str]:
    return {"PREFECT_HOME": str(folder / "home"), "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true"}


def served(folder: Path) -> None:
    """README's program with a server."""
    with LocalPrefect(folder / "home") as prefect:
        readme(folder / "server", prefect.settings)


def server(folder: Path) -> None:
    """The same, and flows; then deployments, by schedule and by event."""
    with LocalPrefect(folder / "home") as prefect:
        readme(folder / "server", prefect.settings)
        database = f"sqlite:///{folder}/flows.db"
        run("flows/coin_toss.py", settings=prefect.settings | {"MLTRAQ_DATABASE_URL": database})
        _deployments(prefect, f"sqlite:///{folder}/deployed.db")


def _deployments(prefect: LocalPrefect, database: str) -> None:
    prefect.settings |= {"MLTRAQ_DATABASE_URL": database, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as log:
        serving = subprocess.Popen(
            [sys.executable, "deployments/serve.py"],
            cwd=ROOT,
            env=os.environ | QUIET | prefect.settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            prefect.wait(lambda: _scheduled(prefect), SECONDS, "deployments")
            prefect.wait(lambda: _is_evaluated(database), SECONDS, "a slot and its event")
        finally:
            stop(serving)


def _scheduled(prefect: LocalPrefect) -> bool:
    """Give the deployment a schedule; return whether it is there and has one."""
    deployments = f"{prefect.url}/api/deployments"
    found = httpx.get(f"{deployments}/name/toss/coin-toss-served", timeout=60)
    if found.status_code in NOT_YET:
        return False
    first = datetime.now(UTC) + timedelta(seconds=FIRST_SLOT)
    slots = {"interval": SLOT_SECONDS, "anchor_date": first.isoformat()}
    made = httpx.post(
        f"{deployments}/{found.raise_for_status().json()['id']}/schedules",
        json=[{"active": True, "schedule": slots}],
        timeout=60,
    )
    return made.status_code not in NOT_YET and made.raise_for_status().is_success


def _is_evaluated(database: str) -> bool:
    try:
        with mltraq.create_session(database, create=False) as session:
            return len(session.query("SELECT error FROM e_coin_toss WHERE error IS NOT NULL")) > 0
    except mltraq.StoreError:
        return False


def codecs(folder: Path) -> None:
    """Values of this stack come back, and those of others are read."""
    _tests(folder, *CODECS)


def contract(folder: Path) -> None:
    """The contract of storage, on SQLite."""
    _tests(folder, *CONTRACT, "-k", "sqlite")


def quick(folder: Path) -> None:
    """A selection of both, for each commit."""
    _tests(folder, CODECS[0], CONTRACT[1], "-k", "stack or sqlite-file")


def _tests(folder: Path, *words: str) -> None:
    options = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--hypothesis-profile=ci")
    run("-m", "pytest", *options, *words, settings={"PREFECT_HOME": str(folder / "home")})


STAGES: Mapping[str, Callable[[Path], None]] = {
    each.__name__: each for each in (script, server, codecs, contract, plain, served, quick)
}
PARTS = {"plain", "served", "quick"}
"""Stages that others have in them."""


def main(names: list[str]) -> int:
    """Run stages; return how many have failed."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    print(f"Python {platform.python_version()}, {versions}", flush=True)
    failed = 0
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="mltraq-") as folder:
            try:
                STAGES[name](Path(folder))
                verdict = "passes"
            except Exception as error:
                verdict, failed = f"FAILS: {error}", failed + 1
        print(f"{name} {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [name for name in STAGES if name not in PARTS]))
