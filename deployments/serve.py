"""Serve the deployments from one process on one machine, without a work pool.

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
    refill = Flow.from_source(ROOT, entrypoint=f"{FLOWS}:refill")
    a_toss_has_crashed = DeploymentEventTrigger(
        name="refill coin_toss when a toss has crashed (served)",
        expect={"prefect.flow-run.Crashed"},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": "toss"},
        parameters={"latest": True},
    )
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
        refill.to_deployment(
            "coin-toss-served",
            parameters=parameters,
            cron="45 * * * *",
            concurrency_limit=1,
            triggers=[a_toss_has_crashed],
        ),
        evaluate.to_deployment(
            "coin-toss-served",
            parameters=parameters,
            cron="30 * * * *",
            triggers=[tosses_were_persisted],
        ),
    ]


if __name__ == "__main__":
    serve(*deployments(sys.argv[1] if len(sys.argv) > 1 else None))
