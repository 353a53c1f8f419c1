"""The sweep that several flow runs share: what it computes, and that its deployment fits it."""

import inspect
from pathlib import Path

import pytest
import yaml
from prefect.task_runners import ProcessPoolTaskRunner

import mltraq_prefect as mltraq
from flows.shared_sweep import sweep, walk

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.usefixtures("prefect_server")
def test_a_second_flow_run_finds_the_sweep_done(url):
    for _ in range(2):
        sweep(url=url, repetitions=1, n_jobs=1)
    with mltraq.create_session(url) as session:
        found = session.frame("walks")
        assert len(found) == 20
        assert set(found["state"]) == {"completed"}
        by = session.query("SELECT DISTINCT flow_run_id FROM experiment_runs")
        assert by["flow_run_id"].notna().tolist() == [True]
        steady = found[found["drift"] == 0.1].set_index("length")["distance"]
        assert steady[1_000] == pytest.approx(100, abs=5)
        assert session.claims("walks").empty


def test_a_task_runner_that_shares_runs_out_itself_is_refused(session):
    experiment = session.add_experiment("walks").add_runs(drift=[0.0], length=[10])
    with pytest.raises(mltraq.InvalidInput, match="a ProcessPoolTaskRunner shares runs out itself"):
        experiment.execute(
            walk, checkpoint=True, shared=True, task_runner=ProcessPoolTaskRunner(max_workers=1)
        )
    assert session.ls().empty


def test_the_deployment_is_of_this_flow():
    declared = yaml.safe_load((ROOT / "deployments" / "shared.yaml").read_text())["deployments"]
    (deployment,) = declared
    assert deployment["entrypoint"] == "flows/shared_sweep.py:sweep"
    assert deployment["parameters"].keys() <= inspect.signature(sweep.fn).parameters.keys()
