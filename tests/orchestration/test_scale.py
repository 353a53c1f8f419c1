"""10,000 runs: the graph stays readable, the server loses no event, and progress is throttled."""

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)

from tests.polling import poll
from tests.steps import double, increment

pytestmark = pytest.mark.usefixtures("prefect_server")

RUNS = 10_000


def test_ten_thousand_runs(session):
    experiment = session.add_experiment("many").add_runs(N=range(RUNS))
    experiment.execute([double, increment], checkpoint=True)
    assert session.query("SELECT sum(more) AS s FROM e_many")["s"][0] == RUNS**2
    submitted = {run.ledger.task_run_id for run in experiment.runs.values()}
    (flow_run_id,) = {run.ledger.flow_run_id for run in experiment.runs.values()}
    assert len(submitted) <= 100

    def completed():
        found = task_runs(flow_run_id)
        return len(found), sum(run.state is not None and run.state.is_completed() for run in found)

    expected = 2 * len(submitted)
    assert poll(completed, lambda found: found == (expected, expected)) == (expected, expected)

    def progress():
        return [(found.data, found.description) for found in artifacts("progress-mltraq-many")]

    at_the_end = [(100.0, "many: 10,000 of 10,000 runs completed")]
    assert poll(progress, lambda found: found == at_the_end) == at_the_end


def task_runs(flow_run_id):
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return client.read_task_runs(flow_run_filter=chosen, limit=200)


def artifacts(key):
    with get_client(sync_client=True) as client:
        return client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
