"""Serve the two deployments from one process on one machine, without a work pool.

Needs a running Prefect server, and the database in the environment variable MLTRAQ_DATABASE_URL or
in an Experiment Store block: python deployments/serve.py [BLOCK]
"""

import sys
from pathlib import Path

from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger

ROOT = Path(__file__).parent.parent
FLOWS = "flows/coin_toss.py"


def deployments(store: str | None) -> list[RunnerDeployment]:
    toss = Flow.from_source(ROOT, entrypoint=f"{FLOWS}:toss")
    evaluate = Flow.from_source(ROOT, entrypoint=f"{FLOWS}:evaluate")
    tosses_were_persisted = DeploymentEventTrigger(
        name="evaluate coin_toss when tosses were persisted (served)",
        expect={"mltraq.experiment.persisted"},
        match={
            "prefect.resource.id": "mltraq.experiment.coin_toss",
            "mltraq.step.toss_coins": "completed",
        },
        parameters={"experiment": "{{ event.payload.experiment }}"},
    )
    parameters = {"store": store}
    return [
        toss.to_deployment("coin-toss-served", parameters=parameters, cron="0 * * * *"),
        evaluate.to_deployment(
            "coin-toss-served",
            parameters=parameters,
            cron="30 * * * *",
            triggers=[tosses_were_persisted],
        ),
    ]


if __name__ == "__main__":
    serve(*deployments(sys.argv[1] if len(sys.argv) > 1 else None))
