"""What pages read of very many runs is a part of bounded size, and they say so."""

import re

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.reports.html.sections import SECTIONS, built
from mltraq_prefect.reports.study import study as studies
from mltraq_prefect.reports.study.results import Condition
from mltraq_prefect.reports.study.study import Study
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.aggregates import results_curves, results_groups, results_view
from tests import growth

FEW, COPIES = 240, 10


@pytest.fixture
def limits(monkeypatch):
    """Limits that a small experiment exceeds."""
    monkeypatch.setattr(studies, "SAMPLE", 60)
    monkeypatch.setattr(results_view, "MOST_EXACT", 100)
    monkeypatch.setattr(results_groups, "MOST_GROUPED", 80)
    monkeypatch.setattr(results_curves, "MOST_RUNS", 10)
    monkeypatch.setattr(results_curves, "MOST_ROWS", 400)


def page(url, key, *, is_quick=True):
    store = Store(url)
    try:
        study = Study(store.results(growth.NAME, is_quick=is_quick))
        (section,) = (own for own in SECTIONS if own.key == key)
        return built(section, study, None)
    finally:
        store.close()


def test_pages_cost_the_same_beside_ten_times_as_many_runs(counted_url, limits, caplog):
    caplog.set_level("ERROR")
    growth.make(counted_url, FEW)
    pages = ("leaderboard", "effects", "parallel", "importance")

    def costs():
        return {
            key: growth.counted(counted_url, lambda url, key=key: page(url, key)) for key in pages
        }

    before = costs()
    growth.grow(counted_url, COPIES)
    for key, found in costs().items():
        for what in {"instructions", "read"} & set(found):
            # what nothing was read of is looked up: a miss costs less than a run
            assert found[what] < 1.6 * before[key][what] + 500, (key, what)


def test_a_leaderboard_of_some_runs_says_so_and_leads_to_that_of_all(tmp_path, limits):
    url = f"sqlite:///{tmp_path}/store.db"
    growth.make(url, FEW)
    assert "Of 80 runs, spread evenly, as there are 240." in page(url, "leaderboard")
    assert "spread evenly" not in page(url, "leaderboard", is_quick=False)
    assert "Figures are of 60 runs, spread evenly, as there are 240." in page(url, "effects")


def test_groups_that_are_made_in_stretches_are_those_of_all_runs(tmp_path, limits, monkeypatch):
    url, found = f"sqlite:///{tmp_path}/store.db", []
    growth.make(url, FEW)
    stretches = results_view.ResultsView.stretches

    def noted(view):
        found.append(stretches(view))
        return found[-1]

    monkeypatch.setattr(results_view, "STRETCH", 50)
    monkeypatch.setattr(results_view.ResultsView, "stretches", noted)
    divided = page(url, "leaderboard", is_quick=False)
    monkeypatch.setattr(results_view, "MOST_EXACT", 10**6)
    assert page(url, "leaderboard", is_quick=False) == divided
    assert [len(own) for own in found] == [5, 1]


def log(run):
    for step in range(run.kwargs.rows):
        run.log(step, loss=float(step), late=1.0 if step % 10 == 9 else None)


def logged(url, runs, rows):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment(growth.NAME).add_runs(n=range(runs))
        experiment.execute(log, {"rows": rows}, backend="local").persist()


def test_curves_read_no_more_of_longer_series_and_of_more_runs(tmp_path, limits):
    found = {}
    for runs, rows in ((20, 100), (20, 2_000), (200, 100)):
        url = f"sqlite:///{tmp_path}/{runs}-{rows}.db"
        logged(url, runs, rows)
        found[runs, rows] = growth.counted(url, lambda url: page(url, "curves"))["instructions"]
    assert found[20, 2_000] < 1.5 * found[20, 100]
    assert found[200, 100] < 1.5 * found[20, 100]


def test_curves_of_some_rows_say_so_and_are_the_same_means(tmp_path, limits):
    url = f"sqlite:///{tmp_path}/store.db"
    logged(url, 20, 2_000)
    text = page(url, "curves")
    assert re.search(r"Of 10 runs, spread evenly, as there are 20\. Of one row in 50", text)
    store = Store(url)
    lines, *_ = store.results(growth.NAME).curves(["loss", "late"], None, None, 500)
    (loss,), (late,) = lines["loss"], lines["late"]
    store.close()
    assert 35 <= len(loss.steps) <= 45
    assert all(
        step <= mean < step + 4 for step, mean in zip(loss.steps, loss.moments.mean, strict=True)
    )
    assert set(late.moments.mean.tolist()) == {1.0}


def test_a_page_looks_at_one_table_for_runs_that_it_does_not_show(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    growth.make(url, FEW)
    growth.grow(url, COPIES)
    runs = FEW * COPIES

    def instructions(start=0, where=None):
        def work(url):
            store = Store(url)
            results = store.results(growth.NAME)
            columns = {own.name: own for own in results.columns()}
            conditions = [Condition(columns[where], ">=", 0)] if where else []
            frame, total = results.page(
                [columns["id_run"], columns["note"]], where=conditions, start=start, most=5
            )
            assert len(frame) == 5
            assert total >= runs
            store.close()

        return growth.counted(url, work)["instructions"]

    first = instructions()
    assert instructions(start=runs) < first + 5 * runs
    assert instructions(where="heads") < first + 7 * runs
