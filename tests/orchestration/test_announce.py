"""What Prefect hears after a persist."""

import base64
import logging
import re

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.context import FlowRunContext
from prefect.server.events.schemas.events import ResourceSpecification

import mltraq_prefect as mltraq
from mltraq_prefect.orchestration import artifacts
from mltraq_prefect.orchestration.events import Persisted, resource
from tests.polling import poll
from tests.prefect_api import logs, task_runs
from tests.steps import score

pytestmark = pytest.mark.usefixtures("prefect_server")

NAMES = [
    "coin_toss",
    "a b",
    "A/B",
    "日本",
    "x" * 200,
    "a*?[b]!",
    "{{ x }}",
    "a.b",
    "line\nbreak",
    "%20",
]


@pytest.fixture
def heard(monkeypatch):
    """What was emitted."""
    events = []
    monkeypatch.setattr(artifacts, "emit_persisted", events.append)
    return events


def in_flow(body):
    @flow
    def study():
        body()
        return str(FlowRunContext.get().flow_run.id)

    return study()


def summaries(key, count):
    """Return the versions of an artifact, newest first."""

    def read():
        with get_client(sync_client=True) as client:
            chosen = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            found = client.read_artifacts(artifact_filter=chosen)
            return sorted(found, key=lambda artifact: artifact.created, reverse=True)

    return poll(read, lambda found: len(found) >= count)


def test_a_persist_that_writes_emits_one_event_and_one_that_does_not_none(session, heard):
    experiment = session.add_experiment("heard").add_runs(x=[1, 2])

    def study():
        experiment.execute(score)
        experiment.persist(if_exists="merge")
        experiment.persist(if_exists="merge")
        session.load("heard", pending="score").execute(score).persist(if_exists="merge")

    in_flow(study)
    (event,) = heard
    assert event == Persisted(
        experiment="heard",
        id_experiment=experiment.id_experiment,
        table="e_heard",
        mode="merge",
        runs=2,
        columns=["score", "curve"],
        revision=1,
        steps=["score"],
    )


def test_what_checkpoints_have_written_is_announced_by_the_persist(session, heard):
    experiment = session.add_experiment("checked").add_runs(x=[1, 2, 3])

    def study():
        experiment.execute(score, checkpoint=True)
        assert not heard
        experiment.persist(if_exists="merge")

    in_flow(study)
    (event,) = heard
    assert (event.runs, event.steps, event.table) == (3, ["score"], "e_checked")
    assert set(event.columns) == {"score", "curve"}


def test_outside_of_flows_prefect_hears_nothing(session, heard):
    experiment = session.add_experiment("quiet").add_runs(x=[1])
    experiment.execute(score, backend="local").persist()
    assert not heard
    assert not summaries("mltraq-quiet", 0)


def test_a_refused_persist_emits_nothing(session, heard):
    session.add_experiment("taken").persist()

    def study():
        with pytest.raises(mltraq.ExperimentExists):
            session.add_experiment("taken").add_runs(x=[1]).persist()

    in_flow(study)
    assert not heard


def labels(name, steps=()):
    return resource(Persisted(name, "id", "e_x", "merge", 1, [], 1, steps))


@pytest.mark.parametrize("name", NAMES)
def test_a_trigger_on_one_experiment_hears_that_one_alone(name):
    from prefect.server.events.schemas.events import Resource

    pattern = ResourceSpecification({"prefect.resource.id": labels(name)["prefect.resource.id"]})
    heard_of = [other for other in NAMES if pattern.matches(Resource(labels(other)))]
    assert heard_of == [name]


def test_a_trigger_on_a_step_hears_that_step_alone():
    from prefect.server.events.schemas.events import Resource

    pattern = ResourceSpecification({"mltraq.step.toss": "completed"})
    assert pattern.matches(Resource(labels("x", ["toss", "<lambda>"])))
    assert not pattern.matches(Resource(labels("x", ["toss_coins", "metrics"])))


def test_the_summary_is_an_artifact_of_the_persist_with_a_picture(session):
    def study():
        experiment = session.add_experiment("drawn").add_runs(x=[1, 2, 3])
        experiment.execute(score)
        experiment.persist()

    flow_run_id = in_flow(study)
    (artifact,) = summaries("mltraq-drawn", 1)
    assert artifact.type == "markdown"
    assert artifact.task_run_id == task_runs(flow_run_id, 4)["persist drawn"].id
    assert "| `e_drawn` | 3 | completed |" in artifact.data
    assert "| `score` | configuration | runs |" in artifact.data
    assert "| 1.5 | x=3 | 1 |" in artifact.data
    assert "curve" not in artifact.data
    (data,) = re.findall(r"!\[.*\]\(data:image/svg\+xml;base64,(.*)\)", artifact.data)
    assert b"</svg>" in base64.b64decode(data)


def test_the_statement_of_the_summary_runs_as_it_is(session):
    def study():
        experiment = session.add_experiment("Order by").add_runs(x=[1, 2])
        experiment.execute(lambda run: run.fields.update({"select": 1.5, "a b": 2, "Case": True}))
        experiment.persist()

    in_flow(study)
    table = session.ls()["table_name"][0]
    (artifact,) = summaries(artifacts.artifact_key(table), 1)
    (sql,) = re.findall(r"```sql\n(.*?)\n```", artifact.data, re.DOTALL)
    found = session.query(sql)
    assert list(found["select"]) == [1.5, 1.5]
    assert found.shape == (2, 5)


def test_versions_of_one_key_are_the_history_of_an_experiment(session):
    def study(slot):
        experiment = session.add_experiment("history").add_runs(x=[1, 2], slot=[slot])
        experiment.execute(score).persist(if_exists="merge")

    for slot in ("2026-01-01T00:00:00", "2026-01-02T00:00:00"):
        in_flow(lambda slot=slot: study(slot))
    newest, oldest = summaries("mltraq-history", 2)
    assert "| `e_history` | 4 |" in newest.data
    assert "| `e_history` | 2 |" in oldest.data
    assert "revision 2" in newest.description


def test_users_choose_the_fields_or_none(session):
    def study(name, report):
        experiment = session.add_experiment(name).add_runs(x=[1, 2])
        experiment.execute(lambda run: run.fields.update(a=run.params.x, b=run.params.x + 1))
        experiment.persist(report=report)

    in_flow(lambda: study("chosen", ["b"]))
    in_flow(lambda: study("off", False))
    (artifact,) = summaries("mltraq-chosen", 1)
    assert "`b`" in artifact.data
    assert "`a`" not in artifact.data
    assert not summaries("mltraq-off", 0)
    with pytest.raises(mltraq.InvalidInput, match="'unknown' has no field 'typo'"):
        in_flow(lambda: study("unknown", ["b", "typo"]))
    assert "unknown" not in set(session.ls()["name"])
    with pytest.raises(mltraq.InvalidInput, match="report is 'b'; give a list of names"):
        session.add_experiment("wrong").persist(report="b")


def test_a_summary_that_fails_costs_one_line_in_the_log(session, monkeypatch, heard):
    def fail(*arguments):
        raise ValueError("no\nway")

    monkeypatch.setattr(artifacts, "summary", fail)
    monkeypatch.setattr(artifacts, "emit_persisted", fail)

    def study():
        session.add_experiment("failing").add_runs(x=[1, 2]).execute(score).persist()

    flow_run_id = in_flow(study)
    assert len(session.load("failing").runs) == 2
    found = logs(flow_run_id, lambda lines: any("no summary" in line for line in lines))
    warnings = [record.message for record in found if record.level == logging.WARNING]
    assert warnings == [
        "the event of this persist was not sent: ValueError: no way",
        "no summary of experiment 'failing': ValueError: no way",
    ]


def test_a_summary_leads_to_the_results_page_if_there_is_one(session, monkeypatch):
    monkeypatch.setenv("MLTRAQ_RESULTS_PAGES", "http://me:secret@pages.example:4242/")

    def study():
        session.add_experiment("A b").add_runs(x=[1, 2]).execute(score).persist()

    in_flow(study)
    table = session.ls()["table_name"][0]
    (artifact,) = summaries(artifacts.artifact_key(table), 1)
    page = f"http://pages.example:4242/experiments/{table}/leaderboard"
    assert f"[Results page]({page})" in artifact.data
    assert "secret" not in artifact.data


def test_the_pages_of_runs(session):
    experiment = session.add_experiment("linked").add_runs(x=[1, 2])
    assert experiment.links()["flow_run"].isna().all()
    experiment.execute(score)
    links = experiment.links()
    for run, link in zip(experiment.runs.values(), links.itertuples(), strict=True):
        assert (link.id_run, link.run) == (run.id_run, run.describe())
        assert link.flow_run.endswith(f"/runs/flow-run/{run.ledger.flow_run_id}")
        assert link.task_run.endswith(f"/runs/task-run/{run.ledger.task_run_id}")
