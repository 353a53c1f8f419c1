"""Flow runs of one deployment share a sweep, on a process work pool, while some are killed."""

import pytest

import mltraq_prefect as mltraq
from tests.deployments.pool import HOUR, Pool
from tests.polling import poll
from tests.servers import postgresql_database
from tests.sweeps import SECONDS, Sweep, undisturbed

RUNS, LEASE_SECONDS = 240, 4

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_flow_runs_of_a_deployment_execute_one_sweep_together(tmp_path):
    with (
        postgresql_database() as url,
        Pool(url, tmp_path / "marks", RUNS, LEASE_SECONDS) as pool,
    ):
        pool.start_worker()
        pool.start_worker()
        ids = [pool.start_flow_run(), pool.start_flow_run(ahead=HOUR)]
        pool.wait_for(lambda found: len(found) == 2 and all(own["completed"] for own in found))
        dead = pool.kill_flow_run()
        pool.kill_worker()
        pool.hurry()
        ids.append(pool.start_flow_run())
        left = [one for one in ids if one != dead]
        states = poll(
            lambda: pool.states(left), lambda found: {*found.values()} == {"COMPLETED"}, SECONDS
        )
        assert {*states.values()} == {"COMPLETED"}, pool.logs()
        executions = pool.executions()
        assert len(executions) == RUNS
        assert sum(executions) < RUNS + 100
        sweep = Sweep(url, tmp_path / "other", RUNS, {})
        assert sweep.results() == undisturbed(tmp_path / "undisturbed", RUNS)
        with mltraq.create_session(url) as session:
            by = session.query("SELECT flow_run_id, count(*) AS n FROM experiment_runs GROUP BY 1")
            assert set(by["flow_run_id"]) <= set(ids)
            assert len(by) >= 2
            steps = "SELECT count(*) AS n FROM experiment_run_steps"
            assert session.query(steps)["n"].item() == 3 * RUNS
            assert session.claims("sweep").empty
