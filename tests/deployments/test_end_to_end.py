"""Generation and evaluation as deployments: the documented commands, a worker, PostgreSQL."""

from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from flows import coin_toss

GRID = [1, 25, 50, 100]

KINDS = (
    "flow_runs",
    "task_runs",
    "deployments",
    "logs",
    "artifacts",
    "automations",
    "variables",
    "flows",
)
"""What the API shows, beside events and blocks."""


@pytest.fixture
def store(deployed):
    with mltraq.create_session(deployed.database) as session:
        yield session


def rows(store):
    sql = "SELECT n, slot, replicates, error, standard_error FROM e_coin_toss ORDER BY slot, n"
    return store.query(sql)


def test_the_event_starts_the_evaluation_in_another_process(deployed, store, tossed):
    _, evaluation = tossed
    assert evaluation["parameters"] == {"experiment": "coin_toss", "store": "mltraq"}
    assert evaluation["created_by"]["type"] == "AUTOMATION"
    found = rows(store)
    assert list(found["n"]) == GRID
    exact = found["n"].map(lambda n: coin_toss.expected_error(n, coin_toss.BIAS))
    assert ((found["error"] - exact) / found["standard_error"]).abs().max() < 6
    experiment = store.load("coin_toss", columns=[])
    assert {run.ledger.flow_run_id for run in experiment.runs.values()} == {evaluation["id"]}
    executions = experiment.executions
    own = executions[executions["flow_run_id"] == evaluation["id"]]
    assert set(own["deployment_id"]) == {evaluation["deployment_id"]}
    chosen = {
        "flow_runs": {"id": {"any_": [evaluation["id"]]}},
        "task_runs": {"name": {"like_": "metrics"}},
    }

    def all_listed():  # the server lists task runs some time after they have ended
        found = deployed.post("task_runs/filter", **chosen)
        return found if len(found) >= len(GRID) else None

    metrics = deployed.wait(all_listed, "task runs")
    assert {run["name"] for run in metrics} == {f"metrics N={n}" for n in GRID}


def test_the_events_say_what_was_written_and_do_not_start_it_again(deployed, store, tossed):
    tosses, metrics = deployed.events(2)
    id_experiment = store.load("coin_toss", columns=[]).id_experiment
    assert tosses["resource"] == {
        "prefect.resource.id": "mltraq.experiment.coin_toss",
        "prefect.resource.name": "coin_toss",
        "mltraq.step.toss_coins": "completed",
    }
    assert tosses["payload"] == {
        "experiment": "coin_toss",
        "id_experiment": id_experiment,
        "table": "e_coin_toss",
        "mode": "merge",
        "runs": 4,
        "columns": ["n", "slot", "errors"],
        "revision": tosses["payload"]["revision"],
    }
    assert "mltraq.step.toss_coins" not in metrics["resource"]
    assert metrics["resource"]["mltraq.step.metrics"] == "completed"
    assert metrics["payload"]["columns"] == ["replicates", "error", "standard_error"]
    assert metrics["payload"]["revision"] > tosses["payload"]["revision"]
    assert len(deployed.started("evaluate")) == 1


def test_what_a_lost_event_should_have_started_is_found_on_schedule(deployed, store, tossed):
    name = {"any_": ["evaluate coin_toss when tosses were persisted"]}
    (automation,) = deployed.post("automations/filter", automations={"name": name})
    deployed.patch(f"automations/{automation['id']}", enabled=False)
    deployed.start("toss", slot="2026-01-01T12:00:00Z")
    deployed.finished("toss", 2)
    assert len(deployed.started("evaluate")) == 1
    assert rows(store)["error"].isna().sum() == len(GRID)

    with deployed.scheduled_soon("evaluate"):
        deployed.wait(lambda: deployed.started("evaluate")[1:] or None, "run on schedule")
    scheduled = deployed.finished("evaluate", len(deployed.started("evaluate")))[-1]
    assert scheduled["auto_scheduled"]
    assert scheduled["parameters"] == {"store": "mltraq"}
    found = rows(store)
    assert list(found["n"]) == GRID * 2
    assert found["error"].notna().all()


def test_evaluated_twice_the_rows_are_the_same_and_no_event_is_emitted(deployed, store, tossed):
    before, count = rows(store), len(deployed.finished("evaluate", 1))
    revision = int(store.ls()["revision"][0])
    deployed.start("evaluate")
    *_, last = deployed.finished("evaluate", count + 1)
    assert rows(store).equals(before)
    assert store.ls()["revision"][0] == revision
    told = {
        related["prefect.resource.id"] for own in deployed.events(2) for related in own["related"]
    }
    assert f"prefect.flow-run.{last['id']}" not in told
    assert deployed.post("task_runs/count", flow_runs={"id": {"any_": [last["id"]]}}) == 0


def test_the_password_is_nowhere(deployed, tossed):
    password = sa.make_url(deployed.database).password
    forms = {password, quote(password, safe=""), quote(password), quote_plus(password)}
    shown = [
        deployed.output,
        *(deployed.log(path.name) for path in deployed.home.glob("*.log")),
        *(str(deployed.post(f"{kind}/filter")) for kind in KINDS),
        str(deployed.post("events/filter", filter={})),
        str(deployed.post("block_documents/filter", include_secrets=False)),
    ]
    stored = [path.read_bytes() for path in deployed.home.rglob("*") if path.is_file()]
    assert sum("coin_toss" in text for text in shown) > 5
    assert any(b"coin_toss" in data for data in stored)
    for form in forms:
        assert not [text for text in shown if form in text]
        assert not [data for data in stored if form.encode() in data]
