"""Let the Prefect server mark flow runs as crashed whose process or machine is gone.

Otherwise they stay Running or Pending for ever, and keep their place in a work pool. Run it once
for each server, and again to change the times: python deployments/automations.py
"""

import argparse
from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import get_current_settings

BEATS = 3
"""A flow run is gone when so many heartbeats in a row did not come."""

RUNNING = ("heartbeat", "Running", "Retrying")
WAITING = ("Pending", "Submitting")


def main() -> None:
    options = _parser().parse_args()
    heartbeats = get_current_settings().flows.heartbeat_frequency
    if heartbeats is None:
        raise SystemExit("Flow runs send no heartbeats: set PREFECT_FLOWS_HEARTBEAT_FREQUENCY=180")
    running = options.running or BEATS * heartbeats
    _save("crash flow runs without a heartbeat", RUNNING, running, "sends no heartbeats")
    _save("crash flow runs that do not start", WAITING, options.waiting, "did not start")


def _save(name: str, events: tuple[str, ...], seconds: int, what: str) -> None:
    """Crash flow runs after any of some events, unless there is another event in time."""
    automation = Automation(
        name=name,
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            after={f"prefect.flow-run.{event}" for event in events},
            expect={"prefect.flow-run.*"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message=f"It {what} for {seconds} s.")
        ],
    )
    try:
        automation.id = Automation.read(name=name).id
    except ValueError:
        automation.create()
    else:
        automation.update()
    print(f"{name}: after {seconds} s")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--running", type=int, help="seconds; default: three heartbeats")
    parser.add_argument(
        "--waiting", type=int, default=900, help="seconds for a start, images included"
    )
    return parser


if __name__ == "__main__":
    main()
