"""Deploy coin_toss on this machine, start it once, and leave the UI open.

Everything is in build/deploy-demo, or the folder that --home names: the database of Prefect's
server, the logs, and mltraq.db unless MLTRAQ_DATABASE_URL says otherwise.
"""

import argparse
import os
import signal
import socket
import sys
import time
from pathlib import Path

from local import LocalPrefect

import mltraq_prefect as mltraq

ROOT = Path(__file__).parent.parent
HOME = ROOT / "build" / "deploy-demo"
EVALUATED_SECONDS = 300

PREPARE = """
import os
import automations
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from mltraq_prefect import ExperimentStore

ExperimentStore(url=os.environ["MLTRAQ_DATABASE_URL"]).save("mltraq", overwrite=True)
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="mltraq", type="process"), overwrite=True)
automations.main()
"""
"""What docs/deployments.md does by commands, in one process: each would import Prefect."""

QUERY = "SELECT slot, n, error, standard_error FROM e_coin_toss ORDER BY slot, n"

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, what services and `kill` send, and a terminal that is closed."""


def main() -> int:
    options = _parser().parse_args()
    for sign in STOPS:
        signal.signal(sign, _stop)
    if not _is_free(options.port):
        print(f"Port {options.port} is in use; choose another one with --port.", file=sys.stderr)
        return 1
    home = options.home.absolute()
    os.chdir(ROOT)
    home.mkdir(parents=True, exist_ok=True)
    url = os.environ.setdefault("MLTRAQ_DATABASE_URL", f"sqlite:///{home}/mltraq.db")
    print("Starting a Prefect server ...")
    try:
        with LocalPrefect(home, options.port) as prefect:
            _deploy(prefect)
            _toss_and_evaluate(prefect, url)
            if not options.once:
                _leave_open(prefect)
    except KeyboardInterrupt:
        print("\nStopped.")
    return 0


def _deploy(prefect: LocalPrefect) -> None:
    print("Deploying flows/coin_toss.py ...")
    folder = str(ROOT / "deployments")
    prefect.python("-c", PREPARE, called="the preparation of the server", PYTHONPATH=folder)
    prefect.start("worker.log", "worker", "start", "--pool", "mltraq")
    prefect.run("deploy", "--all", "--prefect-file", "deployments/prefect.yaml")


def _toss_and_evaluate(prefect: LocalPrefect, url: str) -> None:
    print("Running toss; the event of its persist starts evaluate ...")
    with mltraq.create_session(url) as session:
        before = _evaluated(session)
        prefect.start_flow_run("toss/coin-toss")
        prefect.wait(
            lambda: _evaluated(session) > before, EVALUATED_SECONDS, "the evaluation of the tosses"
        )
        prefect.wait(prefect.is_idle, EVALUATED_SECONDS, "the flow runs to end")
        print("\n" + session.query(QUERY).to_string(index=False))


def _evaluated(session: mltraq.Session) -> int:
    """Count the runs that have their metrics."""
    if not len(session.ls()):
        return 0
    runs = session.load("coin_toss", columns=[]).runs.values()
    return sum("metrics" in run.ledger.steps for run in runs)


def _stop(*_: object) -> None:
    """End the program as Ctrl-C does: server and worker are stopped on the way, in peace."""
    for sign in STOPS:
        signal.signal(sign, signal.SIG_IGN)
    raise KeyboardInterrupt


def _leave_open(prefect: LocalPrefect) -> None:
    print(f"\nFlow runs: {prefect.url}/runs, summaries: {prefect.url}/artifacts")
    print("toss runs every hour on the hour. Press Ctrl-C to stop it all.")
    while prefect.server.poll() is None:
        time.sleep(0.5)
    print("The Prefect server has ended.", file=sys.stderr)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=4200, help="port of the UI; default: 4200")
    parser.add_argument("--home", type=Path, default=HOME, help="folder for data and logs")
    parser.add_argument("--once", action="store_true", help="stop when the coins are evaluated")
    return parser


if __name__ == "__main__":
    sys.exit(main())
