"""Executions of stored experiments: what is executed, what stays, what is refused."""

import logging

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import InvalidInput, RunsFailed


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as opened:
        yield opened


def draw(run):
    if run.params.N == 2:
        raise ValueError("no coin")
    run.fields.drawn = run.params.N * 10
    run.fields.extra = "kept"


def score(run):
    run.fields.score = run.fields.drawn + 1


def fails(run):
    raise KeyError(run.params.N)


def execute(experiment, *steps, **options):
    return experiment.execute(list(steps), backend="local", on_error="keep", **options)


def persist(experiment, if_exists="fail"):
    return experiment.persist(if_exists, on_error="keep")


@pytest.fixture
def stored(session):
    """An experiment of 4 runs, one of which has failed."""
    experiment = session.add_experiment("study").add_runs(N=range(4))
    persist(execute(experiment, draw))
    return experiment


def params(experiment):
    return [run.params.N for run in experiment.runs.values()]


def pending(session, step, **options):
    listed = "study" in set(session.ls(pending=step, **options)["name"])
    found = params(session.load("study", pending=step, **options))
    assert listed == bool(found)
    return found


# -- pending -------------------------------------------------------------------------------------


def test_a_step_is_pending_where_earlier_steps_completed(session, stored):
    assert pending(session, "score") == [0, 1, 3]
    assert pending(session, "score", failed=True) == [0, 1, 3]
    assert pending(session, "draw") == []
    assert pending(session, "draw", failed=True) == [2]


def test_a_step_is_not_tried_where_an_earlier_one_has_failed_and_that_error_stays(
    session, stored, caplog
):
    loaded = session.load("study")
    persist(execute(loaded, score), "merge")
    assert "left out: 1 run, of which another step" in caplog.text
    run = session.load("study", pending="draw", failed=True).runs.first()
    assert (run.ledger.step, run.ledger.error_type) == ("draw", "ValueError")
    assert "no coin" in run.ledger.error
    assert pending(session, "score") == []


def test_a_failure_is_quarantined_until_it_is_asked_for(session, stored):
    persist(execute(session.load("study", pending="score"), fails), "merge")
    assert pending(session, "fails") == []
    assert pending(session, "fails", failed=True) == [0, 1, 3]
    again = session.load("study", pending="fails", failed=True)
    assert all(run.ledger.error_type == "KeyError" for run in again.runs.values())


def test_a_failure_is_tried_again_when_the_code_of_its_step_has_changed(session, stored):
    assert pending(session, draw) == []

    def mended(run):
        run.fields.drawn = run.params.N * 10

    mended.__name__ = "draw"
    assert pending(session, mended) == [2]
    persist(execute(session.load("study", pending=mended), mended), "merge")
    assert pending(session, "score") == [0, 1, 2, 3]


def test_runs_that_completed_other_code_of_a_pending_step_are_told_of(session, stored, caplog):
    def mended(run):
        run.fields.drawn = run.params.N * 20

    mended.__name__ = "draw"
    assert pending(session, draw) == pending(session, "draw") == []
    assert not caplog.messages
    assert pending(session, mended) == [2]
    (message,) = caplog.messages
    assert "3 runs of experiment 'study' have completed step 'draw' in other code" in message
    persist(execute(session.load("study"), mended), "merge")
    caplog.clear()
    assert pending(session, mended) == []
    assert not caplog.messages


@pytest.mark.parametrize("how", ["attribute", "item"])
def test_a_field_that_a_step_asks_for_and_that_was_not_loaded_is_told_of(
    session, stored, caplog, how
):
    def read(run):
        run.fields.read = run.fields.drawn if how == "attribute" else run.fields["drawn"]

    execute(session.load("study", columns=["extra"], where="extra = 'kept'"), read)
    assert [message for message in caplog.messages if "was not loaded" in message] == [
        "experiment 'study': field 'drawn' is in the database and was not loaded, so steps did "
        "not find it; name it in the columns of session.load, or leave them out"
    ]


def test_runs_that_were_tracked_by_hand_are_pending(session):
    experiment = session.add_experiment("study")
    with experiment.run(N=1) as run:
        run.fields.drawn = 5
    experiment.add_run(N=3)
    persist(experiment)
    assert pending(session, "score") == [1, 3]


def test_runs_that_are_listed_and_not_executed_yet_are_pending_for_their_own_step(session):
    experiment = session.add_experiment("study").add_runs(N=[0, 1])
    with pytest.raises(KeyboardInterrupt):
        execute(experiment, interrupted, checkpoint=True)
    assert pending(session, "score") == [0]
    assert pending(session, "interrupted") == [1]


def interrupted(run):
    if run.params.N == 1:
        raise KeyboardInterrupt
    run.fields.drawn = 1


def test_a_checkpoint_that_fails_late_is_pending_from_its_first_step(session):
    experiment = session.add_experiment("study").add_runs(N=[0])
    execute(experiment, draw, fails, checkpoint=True)
    assert pending(session, "fails", failed=True) == []
    assert pending(session, "draw", failed=True) == [0]


def test_a_step_that_was_changed_and_executed_makes_later_ones_pending(session, stored):
    persist(execute(session.load("study", pending="score"), score), "merge")

    def changed(run):
        run.fields.drawn = run.params.N * 100

    changed.__name__ = "draw"
    loaded = session.load("study")
    persist(execute(loaded, changed), "merge")
    assert pending(session, "score") == [0, 1, 2, 3]
    entry = session.load("study").runs.first().ledger.executions["score"]
    assert (entry.state, entry.error) == ("pending", None)
    loaded = session.load("study")
    persist(execute(loaded, changed, score), "merge")
    assert [run.fields.score for run in loaded.runs.values()] == [1, 101, 201, 301]
    assert pending(session, "score") == []
    persist(execute(session.load("study"), changed, rerun=True), "merge")
    assert pending(session, "score") == []


def test_options_of_pending_are_checked(session, stored):
    with pytest.raises(InvalidInput, match="failed=True needs the step"):
        session.load("study", failed=True)
    with pytest.raises(InvalidInput, match="pending is 7; give a step"):
        session.load("study", pending=7)


# -- facts of run and step -----------------------------------------------------------------------


def test_an_evaluation_leaves_the_facts_of_the_generation(session, stored):
    before = session.load("study").runs.first().ledger
    persist(execute(session.load("study", pending="score"), score), "merge")
    after = session.load("study").runs.first().ledger
    assert after.executions["draw"] == before.executions["draw"]
    assert after.started_at == before.started_at
    spent = [entry.duration_s for entry in after.executions.values()]
    assert after.duration_s == pytest.approx(sum(spent))
    assert list(after.steps) == ["draw", "score"]


def test_links_are_those_of_each_step(session, stored):
    persist(execute(session.load("study", pending="score"), score), "merge")
    links = session.load("study").links()
    assert list(links["step"]) == ["draw", "score", "draw", "score", "draw", "draw", "score"]
    assert {"id_run", "run", "flow_run", "task_run"} < set(links.columns)


# -- adding to what is stored --------------------------------------------------------------------


def test_points_that_are_added_are_executed_and_no_others(session, stored, caplog):
    caplog.set_level(logging.INFO, "mltraq_prefect")
    loaded = session.load("study").add_runs(N=range(1, 6))
    assert params(loaded) == [0, 1, 2, 3, 4, 5]
    execute(loaded, draw)
    assert "3 runs of the database have completed these steps and will not" in caplog.text
    persist(loaded, "merge")
    assert session.query("SELECT count(*) AS n FROM experiment_runs")["n"][0] == 6


def test_a_point_that_is_stored_but_was_not_loaded_is_that_run(session, stored):
    loaded = session.load("study", pending="draw", failed=True).add_runs(N=[0, 9])
    execute(loaded, draw)
    assert loaded.runs[list(loaded.runs)[1]].fields.extra == "kept"
    persist(loaded, "merge")
    assert params(session.load("study")) == [0, 1, 2, 3, 9]


def test_completed_runs_are_executed_again_on_demand(session, stored):
    loaded = session.load("study")
    first = [run.ledger.started_at for run in loaded.runs.values()]
    execute(loaded, draw)
    second = [run.ledger.started_at for run in loaded.runs.values()]
    assert [old == new for old, new in zip(first, second, strict=True)] == [True, True, False, True]
    execute(loaded, draw, rerun=True)
    third = [run.ledger.started_at for run in loaded.runs.values()]
    assert all(old < new for old, new in zip(second, third, strict=True))


def test_other_code_is_executed_on_completed_runs(session, stored):
    loaded = session.load("study", columns=["drawn"])
    execute(loaded, score)
    assert loaded.runs.first().fields.score == 1
    execute(loaded, score, kwargs={"other": 1})
    assert loaded.runs.first().ledger.steps["score"] is not None


def test_replicates_stay_as_they_are_without_a_database(session):
    experiment = session.add_experiment("study").add_runs(N=[1, 1]).add_runs(N=[1])
    assert params(experiment) == [1, 1, 1]


def test_runs_tracked_by_hand_are_new_ones_each_time(session):
    experiment = session.add_experiment("study")
    for _ in range(2):
        with experiment.run(N=1):
            pass
        experiment.add_run()
        persist(experiment, "merge")
    assert len(session.load("study").runs) == 4


# -- loaded in part ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"columns": ["drawn"]}, {"pending": "score"}])
def test_what_was_loaded_in_part_replaces_nothing(session, stored, how):
    loaded = session.load("study", **how)
    what = "1 field \\('extra'\\)" if "columns" in how else "1 run "
    with pytest.raises(InvalidInput, match=f"loaded in part: .* would destroy {what}"):
        persist(loaded, "replace")
    with pytest.raises(InvalidInput, match="loaded in part"):
        execute(loaded, draw, checkpoint="replace")
    with pytest.raises(InvalidInput, match="loaded in part"):
        session.persist(loaded, "replace")
    with pytest.raises(InvalidInput, match="loaded in part"):
        persist(loaded.copy("study"), "replace")
    persist(loaded.copy("other"))
    with pytest.raises(InvalidInput, match=f"a pickle of it would be without {what}"):
        loaded.persist("merge", store_pickle=True)
    persist(loaded, "merge")
    whole = session.load("study")
    assert list(whole.runs.first().fields) == ["drawn", "extra"]
    persist(whole, "replace")


def test_runs_deleted_here_stay_in_the_database_and_that_is_said(session, stored, caplog):
    loaded = session.load("study")
    del loaded.runs[loaded.runs.first().id_run]
    persist(loaded, "merge")
    assert "1 run was deleted here, but not in the database" in caplog.text


@pytest.mark.parametrize("name", ["name", "id_experiment"])
def test_what_identifies_an_experiment_cannot_be_set(session, stored, name):
    with pytest.raises(AttributeError, match="experiment 'study'"):
        setattr(stored, name, "renamed")


def test_failures_of_a_new_execution_alone_are_raised(session, stored):
    with pytest.raises(RunsFailed, match="1 of 1 runs failed"):
        session.load("study").execute(draw, backend="local")
    session.load("study").execute(score, backend="local")
