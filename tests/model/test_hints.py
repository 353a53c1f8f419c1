"""Names that are wrong are answered with those that are right."""

import pickle
import signal

import pytest

import mltraq_prefect as mltraq


@pytest.fixture
def experiment(session):
    experiment = session.add_experiment("e").add_runs(N=[1, 2])
    for run in experiment.runs.values():
        run.fields.accuracy, run.ledger.state = 0.5, "completed"
    return experiment


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("reload", r"use session\.load\(name\)"),
        ("save", r"use persist\(\)"),
        ("run_all", r"use execute\(steps\)"),
        ("exekute", "did you mean 'execute'"),
        ("nothing_like_it", "has no attribute 'nothing_like_it'$"),
    ],
)
def test_attributes_of_an_experiment(experiment, name, hint):
    with pytest.raises(AttributeError, match=hint):
        getattr(experiment, name)
    assert not hasattr(experiment, name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("save", r"use experiment\.persist\(\)"),
        ("experiments", r"use ls\(\)"),
        ("create_experiment", "use add_experiment"),
        ("qery", "did you mean 'query'"),
    ],
)
def test_attributes_of_a_session(session, name, hint):
    with pytest.raises(AttributeError, match=hint):
        getattr(session, name)


def test_a_run_by_its_place(experiment):
    with pytest.raises(KeyError, match=r"the first is runs\.first\(\)"):
        experiment.runs[0]


def test_fields_of_a_report_that_nobody_has(session, experiment):
    message = "report: experiment 'e' has no field 'acuracy'; did you mean 'accuracy'.*known"
    with pytest.raises(mltraq.InvalidInput, match=message):
        experiment.persist(report=["acuracy"])
    assert session.ls().empty
    experiment.persist(report=["accuracy"])
    loaded = session.load("e", columns=[])
    for run in loaded.runs.values():
        run.fields.score = 1.0
    loaded.persist(if_exists="merge", report=["score", "accuracy"])


def test_a_report_does_not_hide_that_every_run_failed(session, experiment):
    experiment.execute(lambda run: 1 / 0, backend="local", on_error="keep")
    with pytest.raises(mltraq.RunsFailed):
        experiment.persist(report=["score"])
    assert session.ls()["failed"].tolist() == [2]


@pytest.mark.parametrize(
    ("checkpoint", "way_on"),
    [(False, r"in memory only: persist\(\) stores them"), (True, "stored: execute the same again")],
)
def test_ctrl_c_says_how_to_go_on(session, checkpoint, way_on):
    def interrupt(run):
        if run.params.N == 2:
            signal.raise_signal(signal.SIGINT)

    experiment = session.add_experiment("e").add_runs(N=range(5))
    message = rf"experiment 'e': interrupted; 2 of 5 runs completed.* {way_on}"
    with pytest.raises(KeyboardInterrupt, match=message):
        experiment.execute(interrupt, backend="local", checkpoint=checkpoint)


def replicates(session, *values):
    experiment = session.add_experiment("same name").add_runs(N=[1] * len(values))
    for run, value in zip(experiment.runs.values(), values, strict=True):
        run.fields.x, run.ledger.state = value, "completed"
    return experiment


def test_a_union_of_different_results_of_one_run_is_refused(session):
    one, other = replicates(session, 1.0, 2.0), replicates(session, 1.0, 3.0)
    for unite in (one.runs.add, one.runs.__or__, one.runs.__ior__):
        with pytest.raises(mltraq.InvalidInput, match=r"run N=1 .* with different fields 'x'"):
            unite(other.runs)
    assert [run.fields.x for run in one.runs.values()] == [1.0, 2.0]


def test_a_union_keeps_all_results(session):
    one = replicates(session, 1.0, float("nan"))
    other = replicates(session, 1.0, float("nan"), 3.0)
    new = session.add_experiment("same name").add_runs(N=[1] * 4)
    union = one.runs | other.runs | new.runs
    assert type(union) is type(one.runs)
    assert len(one.runs) == 2
    assert [run.fields.get("x") for run in union.values()][::2] == [1.0, 3.0]
    assert union.df()["x"].tolist()[2] == 3.0
    merged = new.runs
    new.runs |= other.runs
    assert new.runs is merged
    assert [run.fields.get("x") for run in new.runs.values()][2:] == [3.0, None]
    assert len(dict(other.runs) | one.runs) == 3
    with pytest.raises(TypeError):
        one.runs | [1]
    assert len(pickle.loads(pickle.dumps(union))) == 4


def trained(session):
    experiment = session.add_experiment("trained").add_runs(N=[1, 2])
    experiment.execute([fit, score_1], backend="local").persist()
    return experiment


def fit(run):
    run.fields.x = 1


def score_1(run):
    run.fields.y = 1


def test_a_step_that_is_nearly_another_ones_name_is_refused(session):
    trained(session)
    message = r"'trained' has tried a step 'scoer_1'; did you mean 'score_1'\? Known: 'fit', 'score"
    with pytest.raises(mltraq.InvalidInput, match=message):
        session.load("trained", pending="scoer_1")


def test_a_new_step_is_no_misspelt_one(session, caplog):
    trained(session)
    assert len(session.load("trained", pending="score_2").runs) == 2
    assert len(session.load("trained", pending="metrics").runs) == 2
    assert "has tried a step 'metrics' yet; known: 'fit', 'score_1'" in caplog.text
    caplog.clear()
    assert not session.load("trained", pending="fit").runs
    assert len(session.load("trained", pending=unheard_step).runs) == 2
    assert not caplog.text


def unheard_step(run=None):
    """A step that nobody has executed."""


def test_an_experiment_that_is_not_there(session, experiment):
    experiment.persist()
    with pytest.raises(mltraq.ExperimentNotFound, match=rf"; did you mean '{experiment.name}'\?$"):
        session.load(experiment.name + "x")
    with pytest.raises(mltraq.ExperimentNotFound, match=r"'nothing like it' in the database$"):
        session.frame("nothing like it")
