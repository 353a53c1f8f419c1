"""What a person finds of an experiment in the Prefect UI, read through its API."""

import base64
import re
import threading
from contextvars import copy_context

import pytest
from prefect import flow, tags
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.context import FlowRunContext

import mltraq_prefect as mltraq
from tests.polling import poll
from tests.prefect_api import flow_run, logs, task_runs
from tests.steps import double, increment, log_and_wait

pytestmark = pytest.mark.usefixtures("prefect_server")

IMAGE = re.compile(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([^)]*)\)")


def in_flow(body, **options):
    """Call a function in a flow; return the id of its flow run."""

    @flow(**options)
    def study():
        body()
        return str(FlowRunContext.get().flow_run.id)

    return study()


def tagged(flow_run_id, expected):
    """Return a flow run, once it has these tags: a server is not waited for longer than 2 s."""
    found = poll(lambda: flow_run(flow_run_id), lambda own: set(own.tags) == expected)
    assert set(found.tags) == expected
    return found


def test_a_flow_run_is_named_for_its_experiment_and_tagged_with_it(session):
    def both():
        session.add_experiment("first {x}").add_runs(N=[1, 2]).execute(double).persist()
        session.add_experiment("second").add_runs(N=[1]).persist()

    with tags("of the user"):
        found = tagged(in_flow(both), {"of the user", "first {x}", "second"})
    assert re.fullmatch(r"first \{x\} [a-z]+-[a-z]+", found.name)


def test_a_name_that_somebody_has_chosen_stays(session):
    def body():
        session.add_experiment("named").add_runs(N=[1]).execute(double).persist()

    found = tagged(in_flow(body, flow_run_name="night-shift"), {"named"})
    assert found.name == "night-shift"


def test_task_runs_are_named_by_the_params_that_vary(session):
    experiment = session.add_experiment("varying")
    experiment.add_runs(N=[1, 2], slot=["2026-01-01"]).add_runs(N=[1], slot=["2026-01-01"], k=[3])
    experiment.execute([double, increment], checkpoint=True)
    found = task_runs(next(iter(experiment.runs.values())).ledger.flow_run_id, 6)
    names = {"N=1", "N=2", "N=1, k=3"}
    assert set(found) == {f"{step} {name}" for step in ("double", "increment") for name in names}
    experiment = session.add_experiment("single").add_runs(N=[7], slot=["2026-01-01"])
    experiment.execute(double)
    (found,) = task_runs(experiment.runs.first().ledger.flow_run_id, 1)
    assert found == "double N=7, slot=2026-01-01"


def test_the_log_of_a_task_run_says_which_rows_it_is_about(session):
    experiment = session.add_experiment("rows").add_runs(N=[1, 2])
    experiment.execute(double).persist()
    for run in experiment.runs.values():
        line = f"1 row of e_rows: id_run {run.id_run}"
        records = logs(run.ledger.flow_run_id, lambda lines, line=line: line in lines)
        (record,) = [own for own in records if own.message == line]
        assert str(record.task_run_id) == run.ledger.task_run_id
    many = session.add_experiment("many rows").add_runs(N=range(30))
    many.execute(double, runs_per_task=30).persist()
    run = many.runs.first()
    sql = "SELECT count(*) AS n FROM experiment_run_steps WHERE task_run_id = :id"
    assert session.query(sql, {"id": run.ledger.task_run_id})["n"].tolist() == [30]
    told = f"have task_run_id {run.ledger.task_run_id} in experiment_run_steps"
    (message,) = [
        own.message
        for own in logs(run.ledger.flow_run_id, lambda lines: any(told in own for own in lines))
        if told in own.message
    ]
    assert message.startswith("30 rows of e_many_rows")
    assert run.id_run in message


def test_an_artifact_leads_to_a_report(session, tmp_path):
    experiment = session.add_experiment("told").add_runs(N=[1, 2])
    file = tmp_path / "told.html"

    def body():
        experiment.execute(double, backend="local").persist()
        experiment.report(file, artifact=True)
        experiment.report(file, artifact="https://files.example/told.html")

    in_flow(body)

    def read():
        with get_client(sync_client=True) as client:
            chosen = ArtifactFilter(key=ArtifactFilterKey(any_=["report-mltraq-told"]))
            return [own.data for own in client.read_artifacts(artifact_filter=chosen)]

    links = poll(read, lambda found: len(found) == 2)
    assert sorted(links) == [
        f"[Report on told]({file.as_uri()})",
        "[Report on told](https://files.example/told.html)",
    ]
    file.unlink()
    with pytest.raises(mltraq.InvalidInput, match="in no flow"):
        experiment.report(file, artifact=True)
    assert not file.exists()


def progress(table):
    """Return the texts of the progress artifacts of an experiment."""
    with get_client(sync_client=True) as client:
        chosen = ArtifactFilter(key=ArtifactFilterKey(any_=[f"progress-mltraq-{table}"]))
        return [own.description for own in client.read_artifacts(artifact_filter=chosen)]


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_progress_of_a_sweep_has_its_curves_while_it_runs(session, tmp_path, checkpoint):
    name, until = f"seen{int(checkpoint)}", tmp_path / "seen"
    experiment = session.add_experiment(name)
    experiment.add_runs(dataset=["iris", "wine"], level=[1.0, 2.0])
    seen = []

    def look():
        def shown(texts):
            return texts and len(IMAGE.findall(texts[0])) == 2

        try:
            seen.extend(poll(lambda: progress(name), shown))
        finally:
            until.touch()

    looking = threading.Thread(target=copy_context().run, args=(look,))
    looking.start()
    experiment.execute(log_and_wait, kwargs={"until": str(until)}, n_jobs=4, checkpoint=checkpoint)
    looking.join()
    (text,) = seen
    assert "0 of 4 runs completed" in text
    drawn = {label: base64.b64decode(data).decode() for label, data in IMAGE.findall(text)}
    assert set(drawn) == {"loss", "odd"}
    assert "loss against step" in drawn["loss"]
    assert len(text) < 101_000
    last = poll(lambda: progress(name), lambda texts: "4 of 4" in texts[0])
    assert "4 of 4" in last[0]
    assert all(f"dataset={own}" in last_curve(last[0]) for own in ("iris", "wine"))


def last_curve(text):
    return base64.b64decode(IMAGE.findall(text)[0][1]).decode()
