"""How far is the share of heads from the bias of the coin? Flows that share only a database.

`toss` simulates and persists the outcomes; `evaluate` loads them and adds the metrics. Deployed on
a schedule, each slot of it adds its runs to the same experiment, and `refill` tosses slots whose
flow runs were lost or killed. For an experiment of your own copy this file, and change the steps
and the grid.
"""

import math
import os
import sys
from datetime import UTC, datetime

from prefect import flow, runtime

import mltraq_prefect as mltraq

EXPERIMENT = "coin_toss"
EVERY = "1 hour"  # as the schedule of toss says
BIAS = 0.8


def toss_coins(run):
    """Toss N coins K times over, and keep how far each share of heads is from the bias."""
    heads = run.rng.random((run.kwargs.K, run.params.N)) < run.kwargs.P
    run.fields.n = run.params.N
    run.fields.slot = run.params.slot
    run.fields.errors = abs(heads.mean(axis=1) - run.kwargs.P)


def metrics(run):
    """Estimate the expected error, and the standard error of that estimate."""
    errors = run.fields.errors
    run.fields.replicates = len(errors)
    run.fields.error = float(errors.mean())
    run.fields.standard_error = float(errors.std(ddof=1) / math.sqrt(len(errors)))


@flow
def toss(store: str | None = None, slot: datetime | None = None):
    """Generate: one run for each N; a slot of the schedule that was executed already adds none."""
    moment = int((slot or runtime.flow_run.scheduled_start_time).timestamp())
    with mltraq.create_session(block=store) as session:
        experiment = session.add_experiment(EXPERIMENT, description="share of heads as estimator")
        experiment.add_runs(N=[1, 25, 50, 100], slot=[datetime.fromtimestamp(moment, UTC)])
        kwargs = {"P": BIAS, "K": 10_000}
        experiment.execute(steps=toss_coins, kwargs=kwargs, checkpoint=True, on_error="keep")
        experiment.persist(if_exists="merge")


@flow
def refill(store: str | None = None, latest: bool = False):
    """Toss the slots that are missing, and what is left of those whose flow runs were killed."""
    with mltraq.create_session(block=store) as session:
        slots = session.missing_slots(EXPERIMENT, EVERY, latest=latest)
    return [toss(store, slot, return_state=True) for slot in slots]


@flow
def evaluate(experiment: str = EXPERIMENT, store: str | None = None):
    """Evaluate what has yet to be: read the errors alone, and add columns to the same rows."""
    with mltraq.create_session(block=store) as session:
        if experiment in set(session.ls(pending=metrics)["name"]):
            stored = session.load(experiment, columns=["errors"], pending=metrics)
            stored.execute(steps=metrics, on_error="keep")
            stored.persist(if_exists="merge", report=["error"])


def expected_error(n: int, p: float) -> float:
    """Mean absolute deviation of a binomial share (De Moivre, Miscellanea Analytica, 1730)."""
    v = math.floor(n * p) + 1
    return 2 * v * (1 - p) * math.comb(n, v) * p**v * (1 - p) ** (n - v) / n


QUERY = (
    "SELECT n, sum(replicates) AS replicates, avg(error) AS error, count(*) AS slots,"
    " avg(standard_error * standard_error) AS variance FROM e_coin_toss GROUP BY n ORDER BY n"
)
SLOTS = "SELECT slot, n, error FROM e_coin_toss ORDER BY n, slot"


def report() -> None:
    """Print the stored metrics, pooled over the slots, beside the exact values."""
    with mltraq.create_session() as session:
        rows = session.query(QUERY)
    print(f"\n{'N':>5} {'replicates':>11} {'error':>10} {'std. error':>11} {'exact':>10} {'z':>6}")
    for row in rows.itertuples():
        exact = expected_error(row.n, BIAS)
        standard_error = math.sqrt(row.variance / row.slots)
        print(
            f"{row.n:>5} {row.replicates:>11} {row.error:>10.7f} {standard_error:>11.7f}"
            f" {exact:>10.7f} {(row.error - exact) / standard_error:>6.2f}"
        )


if __name__ == "__main__":
    url = os.environ.setdefault("MLTRAQ_DATABASE_URL", "sqlite:///mltraq.db")
    print(
        "Tossing and evaluating coins (without a running Prefect server, one is started first) ..."
    )
    toss()
    evaluate()
    report()
    if url == "sqlite:///mltraq.db":
        print("\nThe database is mltraq.db, in this folder. One statement to try:")
        print(f'  {sys.executable} -m mltraq_prefect --database {url} query "{SLOTS}"')
    print("\nTo see the flow runs in the Prefect UI:")
    print(f"  {sys.executable} -m prefect server start")
    print("then open http://127.0.0.1:4200/runs")
