"""Results for pages and reports: what the database counts and averages is what Python would."""

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import ExperimentNotFound
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.reports.study.results import Condition
from mltraq_prefect.storage.aggregates.results_view import MOST_CHARACTERS
from tests.contract.records import make_record, make_run

HOSTILE = "it's 100 % :x {y} ? <b>\\"
DAY = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


def made_runs():
    rng = np.random.default_rng(0)
    runs = []
    for number in range(60):
        params = {"model": ["svc", HOSTILE, "knn"][number % 3], "seed": number // 6}
        params |= {"lr": [0.1, 1e-7][number % 2], HOSTILE: number % 2, "flag": number % 2 == 0}
        params |= {"slot": str(DAY + dt.timedelta(days=number % 5)), "layers": [number % 2]}
        if number % 3 == 0:
            params["C"] = float(number % 4)
        fields = {"accuracy": 1e6 + rng.normal(), "big": 2**62 - number, "right": number % 4 == 0}
        fields |= {"text": "é" * 1_000, "array": np.arange(10_000), "document": {"a": [number]}}
        if number in (3, 4, 5, 6):
            fields["accuracy"] = {3: math.nan, 4: math.inf, 5: 1e300, 6: None}[number]
        runs.append(make_run(number, params, **fields))
    for run in runs[50:]:
        run.fields.clear()
        run.ledger = LedgerEntry(state="failed", step="toss", error=f"Traceback {run.params.lr}")
    return runs


@pytest.fixture
def results(store):
    store.write(make_record("study", made_runs()), "fail")
    return store.results("study")


def columns_of(results):
    return {(own.source, own.key): own for own in results.columns()}


def expected_frame():
    runs = made_runs()
    rows = [{**run.params, **run.fields, "state": run.ledger.state} for run in runs]
    frame = pd.DataFrame(rows)
    numbers = pd.to_numeric(frame["accuracy"], errors="coerce").astype(float)
    frame["accuracy"] = numbers.where(numbers.abs() < 1e150)
    return frame


def test_an_experiment_without_runs_has_groups_without_runs(store):
    store.write(make_record("none", []), "fail")
    results = store.results("none")
    (whole,) = results.groups([], [own for own in results.columns() if own.key == "duration_s"])
    assert (whole.runs.tolist(), whole.failed.tolist()) == ([0], [0])


def test_groups_have_the_moments_of_their_runs(results):
    columns = columns_of(results)
    by = [columns["param", key] for key in ("model", "lr", HOSTILE)]
    metrics = [columns["field", key] for key in ("accuracy", "big", "right")]
    (found,) = results.groups(by, metrics, descending=True, most=20)
    frame = expected_frame()
    assert found.total == len(found.values) == 6
    assert found.runs.sum() == 60
    assert found.failed.sum() == 10
    means = found.metrics[metrics[0].name].mean.tolist()
    assert means == sorted(means, reverse=True)
    for place, values in enumerate(found.values):
        keys = zip(("model", "lr", HOSTILE), values, strict=True)
        own = frame[np.logical_and.reduce([frame[key] == value for key, value in keys])]
        assert found.runs[place] == len(own)
        for metric in metrics:
            moments = found.metrics[metric.name]
            numbers = own[metric.key].dropna().astype(float)
            assert moments.count[place] == len(numbers)
            assert moments.mean[place] == pytest.approx(numbers.mean(), rel=1e-9)
            assert moments.variance[place] == pytest.approx(numbers.var(), rel=1e-6)
    (best,) = results.groups(by, metrics, descending=False, most=2)
    assert (len(best.values), best.total) == (2, 6)
    assert best.values[0] == found.values[-1]
    (whole,) = results.groups([], metrics)
    assert (whole.values, whole.runs.tolist()) == ([()], [60])


def test_large_numbers_that_differ_little_have_the_moments_of_their_differences(store):
    noise = np.random.default_rng(0).normal(size=(3, 8)) * 1e-4
    values = 1e9 + np.array([[0.0], [0.001], [0.002]]) + noise
    runs = [make_run(group * 8 + seed) for group in range(3) for seed in range(8)]
    for run, value in zip(runs, values.flat, strict=True):
        run.params.group = int(run.params.N) // 8
        run.fields.y = float(value)
    store.write(make_record("large", runs), "fail")
    results = store.results("large")
    columns = columns_of(results)
    y = columns["field", "y"]
    (found,) = results.groups([columns["param", "group"]], [y], descending=False)
    moments = found.metrics[y.name]
    assert moments.variance == pytest.approx((values - 1e9).var(axis=1, ddof=1), rel=1e-3)
    assert moments.mean == pytest.approx(values.mean(axis=1), rel=1e-15)


def test_parts_of_the_work_have_groups_of_their_own_and_the_largest_come_first(results):
    columns = columns_of(results)
    c, seed, accuracy = (
        columns["param", "C"],
        columns["param", "seed"],
        columns["field", "accuracy"],
    )
    found = results.groups([seed], [accuracy], part=c, most=3, parts=3)
    assert [own.part for own in found] == [None, 0.0, 1.0]
    assert [int(own.total) for own in found] == [10, 5, 5]
    assert {own.read for own in found} == {60}
    frame = expected_frame()
    for own in found:
        part = frame[frame["C"].isna() if own.part is None else frame["C"] == own.part]
        means = part.groupby("seed")["accuracy"].mean().sort_values(ascending=False)
        assert own.metrics[accuracy.name].mean.tolist() == pytest.approx(means.tolist()[:3])
    assert [own.part for own in results.groups([seed], [], part=c, parts=1)] == [None]


def test_conditions_are_bound(results):
    columns = columns_of(results)
    model, c = columns["param", "model"], columns["param", "C"]
    slot, flag, state = (columns["param", key] for key in ("slot", "flag")), None, None
    slot, flag = slot
    state = columns["ledger", "state"]
    id_run = columns["run", "id_run"]
    for where, count in [
        ([Condition(model, "=", HOSTILE)], 20),
        ([Condition(model, "<>", HOSTILE), Condition(c, "=", None)], 20),
        ([Condition(c, ">", 1.0)], 10),
        ([Condition(c, "<>", None)], 20),
        ([Condition(flag, "=", True)], 30),
        ([Condition(state, "=", "failed")], 10),
        ([Condition(model, "=", "no such")], 0),
    ]:
        frame, total = results.page([id_run, model], where=where, most=100)
        assert (len(frame), total) == (count, count), where
    level = results.sample([slot], 100)[slot.name].iloc[0]
    assert results.page([id_run], where=[Condition(slot, "=", level)])[1] == 12
    layers = columns["param", "layers"]
    for (level,) in results.groups([layers], [])[0].values:
        assert results.page([id_run], where=[Condition(layers, "=", level)])[1] == 30
    assert results.page([model], where=[Condition(flag, "=", False)])[1] == 30


def test_pages_are_in_order_and_texts_are_cut(results):
    columns = columns_of(results)
    accuracy, text = columns["field", "accuracy"], columns["field", "text"]
    chosen = [accuracy, text, *(columns["field", key] for key in ("array", "document", "big"))]
    first, total = results.page(chosen, order=accuracy, descending=True, start=0, most=30)
    second, _ = results.page(chosen, order=accuracy, descending=True, start=30, most=30)
    both = pd.concat([first, second], ignore_index=True)
    assert (total, len(both)) == (60, 60)
    known = both[accuracy.name].dropna()
    assert known.index.max() == len(known) - 1  # what is missing comes last
    assert np.isinf(known.iloc[0]) or known.iloc[0] == 1e300
    assert both[text.name].dropna().str.len().unique().tolist() == [MOST_CHARACTERS]
    assert both[chosen[2].name].isna().all()
    assert both[chosen[4].name].max() == 2**62
    frame, _ = results.page([columns["param", "seed"]], start=58)
    assert frame["seed"].tolist() == [9, 9]


def test_samples_failures_and_header(results, store):
    columns = columns_of(results)
    chosen = [columns["param", "seed"], columns["field", "accuracy"], columns["param", "layers"]]
    assert len(results.sample(chosen, 100)) == 60
    some = results.sample(chosen, 20)["seed"].tolist()
    assert some == sorted(some)
    assert 17 <= len(some) <= 23
    failures = results.failures(4)
    assert [own.params["seed"] for own in failures] == [8, 8, 8, 8]
    assert failures[0].error == "Traceback 0.1"
    header = results.header()
    assert (header.name, header.runs, header.revision) == ("study", 60, 1)
    assert {state: own.runs for state, own in header.states.items()} == {
        "completed": 50,
        "failed": 10,
    }
    store.delete("study")
    with pytest.raises(ExperimentNotFound):
        results.header()


def test_the_last_runs_are_seen_alone_if_there_are_many(results, store):
    columns = columns_of(results)
    seed, accuracy = columns["param", "seed"], columns["field", "accuracy"]
    last = store.results("study", last=20)
    header = last.header()
    assert (header.runs, header.read) == (60, 20)
    assert {state: own.runs for state, own in header.states.items()} == {
        "completed": 50,
        "failed": 10,
    }
    assert all(math.isnan(own.total_s) for own in header.states.values())
    assert last.sample([seed], 100)["seed"].tolist() == [n // 6 for n in range(40, 60)]
    (whole,) = last.groups([], [accuracy])
    assert (whole.runs.tolist(), whole.failed.tolist()) == ([20], [10])
    assert whole.metrics[accuracy.name].count.tolist() == [10]
    assert last.page([seed])[1] == 20
    assert len(last.failures(100)) == 10
    assert len(store.results("study", last=5).failures(100)) == 5
    assert store.results("study", last=60).header().read == 60


def test_the_statement_runs_as_it_is(store):
    runs = [make_run(number, {"Order by": number}, select=1.5, Case=True) for number in range(3)]
    store.write(make_record("Group by", runs), "fail")
    names, rows = store.query(store.results("Group by").statement())[:2]
    assert [name.lower() for name in names] == ["order_by", "select", "case", "state"]
    assert sorted(rows)[2] == (2, 1.5, True, "completed")


def test_samples_have_all_values_of_params_that_come_in_turn(store):
    levels = {"a": 2, "b": 4, "c": 5, "model": 2}
    runs = []
    for number in range(1_000):
        params = {key: number % count for key, count in levels.items()}
        params["model"] = ["svc", "SVC"][number % 2]
        runs.append(make_run(number, params, same=[0.1, 0.7][number % 2] + 1e6))
    store.write(make_record("grid", runs), "fail")
    results = store.results("grid")
    columns = columns_of(results)
    some = results.sample([columns["param", key] for key in levels], 250)
    assert 240 <= len(some) <= 260
    for key, count in levels.items():
        assert some[key].value_counts().tolist() == pytest.approx([len(some) / count] * count, 0.15)
    same = columns["field", "same"]
    (found,) = results.groups([columns["param", "model"]], [same])
    assert found.values == [("SVC",), ("svc",)]
    assert found.metrics[same.name].variance.tolist() == [0, 0]


def test_curves_are_means_of_what_was_logged_by_step(url):
    def train(run):
        for step in range(40):
            values = {"loss": run.params.lr + step / 10, "word": "text", HOSTILE: step}
            if step == 7:
                values["loss"] = math.nan
            run.log(step, **values)

    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("curves").add_runs(lr=[1.0, 2.0], seed=[0, 1])
        experiment.execute(train, backend="local").persist()
        results = experiment._state.store.results("curves")
        assert list(results.logged()) == ["loss", HOSTILE]
        logged = results.curves(["loss", "word"], None, None, 500)
        assert (list(logged.lines), *logged[1:]) == (["loss"], 4, True, 1)
        (whole,) = logged.lines["loss"]
        assert whole.steps == [step for step in range(40) if step != 7]
        assert set(whole.moments.count.tolist()) == {4}
        expected = [1.5 + step / 10 for step in whole.steps]
        assert whole.moments.mean.tolist() == pytest.approx(expected)
        assert whole.moments.variance.tolist() == pytest.approx([1 / 3] * 39)
        by_rate = results.curves([HOSTILE], columns_of(results)["param", "lr"], None, 10)
        low, high = by_rate.lines[HOSTILE]
        assert (low.group, high.group) == (1.0, 2.0)
        assert low.steps == list(range(0, 40, 4))
        assert low.moments.count.tolist() == [8] * 10
        assert low.moments.mean.tolist() == [step + 1.5 for step in low.steps]
        params = [columns_of(results)["param", own] for own in ("seed", "lr")]
        parts = results.curves([HOSTILE], *params, 10).lines[HOSTILE]
        assert [(own.part, own.group) for own in parts] == [(1, 0), (1, 1), (2, 0), (2, 1)]
        assert {tuple(own.moments.count.tolist()) for own in parts} == {(4,) * 10}
        assert results.curves(["word"], None, None, 10).lines == {}
