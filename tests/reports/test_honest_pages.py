"""What a page must not make believe: of ties, few values, failures, bins and data sets."""

import math
import re

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.reports.html.report import report
from mltraq_prefect.reports.study.curves import curves
from mltraq_prefect.reports.study.effects import effects, heat_maps, parallel
from mltraq_prefect.reports.study.leaderboard import leaderboards
from mltraq_prefect.reports.study.study import Choice, Study, shown_value
from mltraq_prefect.reports.summary import summary


@pytest.fixture
def session(tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/study.db") as opened:
        yield opened


def executed(session, name, step, *grids):
    experiment = session.add_experiment(name)
    for grid in grids:
        experiment.add_runs(**grid)
    experiment.execute(step, backend="local", on_error="keep").persist(on_error="keep")
    return experiment


def study_of(experiment, **choice):
    return Study(experiment._state.store.results(experiment.name), Choice(**choice))


def test_ties_and_what_cannot_be_told_are_no_defeats(session):
    def train(run):
        level = {"same": 0.9, "first": 0.9, "close": 0.899, "far": 0.5}[run.params.model]
        run.fields.accuracy = level + (run.params.model == "far") * run.params.seed / 100

    models = ["first", "same", "close", "far"]
    experiment = executed(session, "ties", train, {"model": models, "seed": range(5)})
    study = study_of(experiment)
    (board,) = leaderboards(study)
    marks = {row.label.removeprefix("model="): board.mark(row) for row in board.rows}
    assert marks == {"first": "", "same": "≈", "close": "?", "far": ""}
    assert "? cannot be told" in report(study)
    assert "? cannot be told" in summary(study)


def test_failures_are_not_ranked_by_how_fast_they_failed(session):
    experiment = executed(session, "failed", lambda run: 1 / 0, {"lr": [0.1, 0.2]})
    study = study_of(experiment)
    assert study.metric is None
    page = report(study)
    assert "ms</td>" not in page
    assert '<p class="soft">No param varies.</p>' not in page
    assert page.count('<p class="soft">There is no number to compare runs by.</p>') == 6
    timed = executed(session, "timed", lambda run: None, {"lr": [0.1, 0.2]})
    assert study_of(timed).metric.key == "duration_s"


def search(run):
    rate, dropout = run.params.rate, run.params.dropout
    run.fields.loss = (math.log10(rate) + 3) ** 2 + dropout


def test_a_random_search_has_a_map_of_bins_and_an_axis_that_fits(session):
    rng = np.random.default_rng(1)
    experiment = session.add_experiment("search")
    for rate, dropout in zip(10 ** rng.uniform(-5, -1, 300), rng.uniform(0, 1, 300), strict=True):
        experiment.add_run(rate=float(rate), dropout=float(dropout))
    experiment.execute(search, backend="local").persist()
    study = study_of(experiment)
    (drawn,) = heat_maps(study)
    frame = pd.DataFrame({**run.params, **run.fields} for run in experiment.runs.values())
    rates, dropouts = np.log10(frame["rate"]), frame["dropout"]
    cells = frame.groupby([pd.cut(rates, 10), pd.cut(dropouts, 10)], observed=True)["loss"].mean()
    assert drawn.svg.count("<rect") == len(cells)
    low, high = map(float, re.match(r"Dark is (\S+), light (\S+)\. ", drawn.note).groups())
    assert (low, high) == pytest.approx((cells.min(), cells.max()), rel=1e-5)
    assert "rate and dropout in bins" in drawn.note
    told = {own.title: own for own in effects(study)}
    assert ">1e-05<" in told["loss by rate"].svg
    assert {">0.5<", ">1.0<"} <= set(re.findall(">[0-9.]+<", told["loss by dropout"].svg))
    assert "in 20 bins" in told["loss by dropout"].note


def test_curves_of_a_chosen_param_are_apart_for_each_data_set(session):
    def train(run):
        level = {"digits": 1.0, "iris": 5.0}[run.params.dataset]
        for step in range(3):
            run.log(step, loss=level + run.params.rate)

    grid = {"dataset": ["digits", "iris"], "rate": [0.1, 0.2], "seed": range(3)}
    experiment = executed(session, "curves", train, grid)
    drawn = curves(study_of(experiment, by=("rate",)))
    assert [own.title for own in drawn] == ["loss, dataset=digits", "loss, dataset=iris"]
    for own, level in zip(drawn, (1, 5), strict=True):
        values = re.findall(r"<title>rate=(\S+), 0: (\S+)", own.svg)
        assert values == [("0.1", f"{level}.1"), ("0.2", f"{level}.2")]
    assert [own.title for own in curves(study_of(experiment))] == ["loss"]


def test_figures_of_params_tell_how_many_are_left_out(session):
    experiment = session.add_experiment("wide")
    for row in range(6):
        run = experiment.add_run(**{f"p{place}": row * (place + 1) for place in range(13)})
        run.fields.loss = float(row)
    study = study_of(experiment.persist())
    drawn = effects(study)
    assert len(drawn) == 12
    assert drawn[-1].note == "Of 13 params that vary, 12 are shown."
    assert parallel(study)[0].note == "Of 13 params that vary, 7 are shown."


def test_curves_tell_what_is_left_out(session):
    def train(run):
        run.log(0, **{f"key_{number}": 1.0 for number in range(13)})

    grid = {"dataset": [f"d{place}" for place in range(7)], "seed": range(2)}
    drawn = curves(study_of(executed(session, "crowd", train, grid)))
    told = "Of 13 keys that were logged, 12 are shown. 6 of 7 lines are shown."
    assert {own.note for own in drawn} == {told}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345678.123456, "12345678.12"),
        (1234567890123.75, "1234567890124"),
        (1e15 + 3, "1000000000000003"),
        (1e15, "1e+15"),
        (123456.75, "123456.75"),
        (0.123456789, "0.123457"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
    ],
)
def test_large_numbers_keep_what_is_before_the_point(value, text):
    assert shown_value(value) == text
