"""Results are replaced while others evaluate them: an evaluation counts for what it was made of."""

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints import resume
from mltraq_prefect.errors import StoreError


def train(run):
    run.fields.y = run.params.n * run.kwargs.k


def evaluate(run):
    run.fields.z = run.fields.y + 1
    run.log(z=run.fields.z)
    run.files["z.txt"] = str(run.fields.z).encode()


def judge(run):
    run.fields.good = run.fields.y > 1


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        experiment = opened.add_experiment("study").add_runs(n=[1, 2])
        experiment.execute(train, {"k": 10}, backend="local").persist()
        yield opened


def train_anew(experiment, ids=None):
    """Replace the results of some runs."""
    for id_run in set(experiment.runs) - set(ids or experiment.runs):
        del experiment.runs[id_run]
    experiment.execute(train, {"k": 20}, backend="local", rerun=True).persist("merge")


def stored(session):
    """Return field y, field z and completed steps of each run."""
    runs = session.load("study").runs.values()
    return [(run.fields.y, run.fields.get("z"), sorted(run.ledger.steps)) for run in runs]


def pending(session):
    return len(session.load("study", pending=evaluate).runs)


def test_what_was_made_of_replaced_results_is_not_written(session, caplog):
    evaluation = session.load("study", pending=evaluate)
    train_anew(session.load("study"), [next(iter(evaluation.runs))])
    evaluation.execute(evaluate, backend="local").persist("merge")
    assert "others have executed 1 of its runs, such as n=1, again since" in caplog.text
    assert stored(session) == [(20, None, ["train"]), (20, 21, ["evaluate", "train"])]
    runs = session.load("study").runs.values()
    assert [("z" in run.series, [*run.files]) for run in runs] == [(False, []), (True, ["z.txt"])]
    assert pending(session) == 1
    assert session.verify().empty


def test_an_evaluation_counts_no_more_when_its_results_are_replaced(session):
    generation = session.load("study")
    session.load("study").execute(evaluate, backend="local").persist("merge")
    train_anew(generation)
    assert [steps for *_, steps in stored(session)] == [["train"], ["train"]]
    assert pending(session) == 2
    assert session.verify().empty


def test_evaluations_at_the_same_time_count_both(session, caplog):
    first, second = session.load("study"), session.load("study", columns=["y"])
    first.execute(evaluate, backend="local").persist("merge")
    second.execute(judge, backend="local").persist("merge")
    assert stored(session) == [(y, y + 1, ["evaluate", "judge", "train"]) for y in (10, 20)]
    assert "again since" not in caplog.text


def test_a_checkpointed_execution_does_not_begin_with_replaced_results(session):
    evaluation = session.load("study", pending=evaluate)
    train_anew(session.load("study"))
    with pytest.raises(StoreError, match="others have executed 2 of its runs, such as n=1, again"):
        evaluation.execute(evaluate, backend="local", checkpoint=True)
    evaluation = session.load("study", pending=evaluate)
    evaluation.execute(evaluate, backend="local", checkpoint=True)
    assert stored(session) == [(y, y + 1, ["evaluate", "train"]) for y in (20, 40)]


def evaluate_late(run):
    if run.params.n == 2:
        with mltraq.create_session(run.kwargs.url) as other:
            train_anew(other.load("study"))
    run.fields.z = run.fields.y + 1


@pytest.mark.parametrize("url", ["sqlite-file", "postgresql", "mariadb"], indirect=True)
def test_results_that_are_replaced_during_a_checkpointed_execution(session, url, monkeypatch):
    """A write that has found nothing to write does not know what another has written before it."""
    monkeypatch.setattr(resume, "FLUSH_SECONDS", 0.0)
    more = session.load("study").add_runs(n=[3])
    more.execute(train, {"k": 10}, backend="local").persist("merge")
    evaluation = session.load("study")
    evaluation.execute(evaluate_late, {"url": url}, backend="local", checkpoint=True)
    assert stored(session) == [(20, 11, ["train"]), (40, None, ["train"]), (60, None, ["train"])]
    assert session.verify().empty
