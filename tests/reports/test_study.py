"""What a report shows of studies as people have them, in one file that needs nothing else."""

import math
import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.reports.figures.charts import COLOURS
from mltraq_prefect.reports.study.effects import effects
from mltraq_prefect.reports.study.leaderboard import leaderboards
from mltraq_prefect.reports.study.study import Choice, Study

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "br", "input", "img"}


class Parsed(HTMLParser):
    """What a page consists of: its tags, the text that it shows, and whether tags are closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = set(), {}, [], []
        self.feed(html)
        assert self.open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.attributes.setdefault(name, set()).add(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def parsed(html):
    """Return a page, after a look at what no page may have."""
    page = Parsed(html)
    assert not page.tags & {"script", "iframe", "object", "img", "base"}
    assert not any(name.startswith("on") for name in page.attributes)
    asked = set().union(*(page.attributes.get(name, ()) for name in ("href", "src", "action")))
    assert all(re.match(r"/(?!/)|\?", address) for address in asked)
    assert not re.search(r"url\(|@import", html)
    return page


def add_families(experiment, seeds=4):
    for dataset in ("digits", "iris"):
        common = {"dataset": [dataset], "seed": range(seeds)}
        experiment.add_runs(**common, model=["svc"], C=[1, 10], kernel=["rbf", "linear"])
        experiment.add_runs(**common, model=["forest"], trees=[10, 100, 1000])
        experiment.add_runs(**common, model=["bayes"])
    return experiment


def train(run):
    params = run.params
    if params.get("kernel") == "linear" and params.seed == 0:
        raise ValueError(HOSTILE)
    level = {"svc": 0.9, "forest": 0.8, "bayes": 0.6}[params.model]
    level += 0.05 * (params.get("C") == 10) - 0.3 * (params.dataset == "iris")
    run.fields.accuracy = level + run.rng.normal(0, 0.01)
    run.fields.loss = 1 - run.fields.accuracy
    for step in range(5):
        run.log(step, logged=level * step)


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    with mltraq.create_session(f"sqlite:///{folder}/study.db") as session:
        experiment = add_families(session.add_experiment("families"))
        experiment.execute(train, backend="local", on_error="keep")
        with pytest.raises(mltraq.RunsFailed):
            experiment.persist()
        yield experiment


def study_of(experiment, *choice):
    return Study(experiment._state.store.results(experiment.name), Choice(*choice))


def test_configurations_are_named_by_the_params_that_they_have(families):
    study = study_of(families)
    assert (study.metric.name, study.lower) == ("accuracy", False)
    boards = leaderboards(study)
    assert [board.panel for board in boards] == ["dataset=digits", "dataset=iris"]
    for board in boards:
        assert board.total == len(board.rows) == 8
        labels = [row.label for row in board.rows]
        assert set(labels[:2]) == {
            "model=svc, C=10, kernel=linear",
            "model=svc, C=10, kernel=rbf",
        }
        assert labels[-1] == "model=bayes"
        means = [row.cells[0][0] for row in board.rows]
        assert means == sorted(means, reverse=True)
        by_label = {row.label: row for row in board.rows}
        failed = by_label["model=svc, C=10, kernel=linear"]
        assert (failed.runs, failed.failed, failed.cells[0][2]) == (4, 1, 3)
        assert board.rows[1].like_best
        assert not board.rows[-1].like_best
    assert boards[0].rows[0].cells[0][0] - boards[1].rows[0].cells[0][0] == pytest.approx(0.3, 0.1)


def test_a_person_may_choose_metric_direction_and_groups(families):
    study = study_of(families, "loss", None, ("model", "dataset"))
    assert study.lower
    (board,) = leaderboards(study)
    assert board.rows[0].label == "dataset=digits, model=svc"
    assert board.rows[0].runs == 16
    with pytest.raises(mltraq.InvalidInput, match="'acuracy'; did you mean 'accuracy'"):
        study_of(families, "acuracy")


def test_the_report_has_all_parts_and_needs_nothing_else(families, tmp_path):
    file = families.report(tmp_path / "families.html")
    page = parsed(file.read_text())
    for part in ("Leaderboard", "Effects", "Heat map", "Parallel coordinates", "Importance"):
        assert part in page.text
    assert "link" not in page.tags
    assert "64 runs" in page.text
    assert "4 failed" in page.text
    assert "accuracy by C" in page.text
    assert "ValueError" in page.text
    assert HOSTILE in page.text  # as text
    assert "model=svc, C=10, kernel=rbf" in page.text
    view = families.view()
    assert "families" in repr(view)
    assert "Leaderboard" in parsed(view._repr_html_()).text


@pytest.mark.parametrize(
    ("grid", "shown"),
    [
        ({"x": [1]}, "all runs"),
        ({"x": [0.001, 0.1, 10.0]}, "y by x"),
        ({"x": range(5), "z": range(4)}, "y by x and z"),
        ({"x": np.linspace(0, 1, 200).tolist()}, "The best 20 of 200 configurations"),
        ({"slot": [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 9)]}, "y over slot"),
        ({"flag": [True, False], "day": [timedelta(1)]}, "flag=true"),
        ({HOSTILE: [HOSTILE, "b"]}, HOSTILE.partition(">")[0]),
        ({"day": [date(2026, 1, day) for day in range(1, 9)]}, "y over day"),
        ({"limit": [1.0, 2.0, math.inf], "seed": range(6)}, "y by limit"),
        ({"dataset": ["iris", None], "seed": range(3)}, "without dataset"),
        ({}, "no number to compare"),
        (None, "0 runs"),
    ],
)
def test_grids_of_every_kind(session, tmp_path, grid, shown):
    experiment = session.add_experiment(HOSTILE)
    if grid is not None:
        experiment.add_runs(**grid)
    for number, run in enumerate(experiment.runs.values()):
        if grid:
            run.fields.y = number + 0.5 if number % 7 != 6 else math.inf
            run.fields[HOSTILE] = HOSTILE
    experiment.persist()
    page = parsed(experiment.report(tmp_path / "x.html").read_text())
    assert shown in page.text
    assert HOSTILE in page.text


def test_truth_values_are_a_metric(session, tmp_path):
    experiment = session.add_experiment("truth").add_runs(x=["a", "b"], seed=range(8))
    for number, run in enumerate(experiment.runs.values()):
        if number:
            run.fields.right = number % 3 == 0
    experiment.persist()
    assert "right by x" in parsed(experiment.report(tmp_path / "x.html").read_text()).text


def test_ten_thousand_runs_are_a_small_file(session, tmp_path):
    grid = {"x": np.linspace(0, 1, 100).tolist(), "z": range(10), "seed": range(10)}
    experiment = session.add_experiment("many").add_runs(**grid)
    for number, run in enumerate(experiment.runs.values()):
        run.fields.update(y=run.params.x * number, predictions="p" * 100)
    experiment.persist()
    file = experiment.report(tmp_path / "many.html")
    assert file.stat().st_size < 5_000_000
    assert "10,000 runs" in parsed(file.read_text()).text


def test_what_is_refused(session, tmp_path):
    experiment = session.add_experiment("one").add_runs(x=[1])
    with pytest.raises(mltraq.ExperimentNotFound, match="'one'"):
        experiment.report(tmp_path / "x.html")
    experiment.persist()
    with pytest.raises(mltraq.InvalidInput, match=r"suffix \.html"):
        experiment.report(tmp_path / "x.pdf")
    with pytest.raises(mltraq.InvalidInput, match="cannot be written"):
        experiment.report(tmp_path / "no" / "x.html")
    with pytest.raises(mltraq.InvalidInput, match="no numeric field"):
        experiment.report(tmp_path / "x.html", metric="y")
    assert list(tmp_path.glob("*.html")) == []


def test_figures_say_which_parts_of_the_work_they_leave_out(session):
    experiment = session.add_experiment("parts")
    experiment.add_runs(dataset=list("abcdefgh"), x=[1, 2, 3], seed=[0, 1])
    experiment.add_runs(x=[1, 2, 3], seed=[0, 1])
    for run in experiment.runs.values():
        run.fields.score = float(run.params.x + run.params.seed)
    experiment.persist()
    (drawn, *_) = effects(study_of(experiment))
    assert drawn.note == f"{COLOURS} of 9 values of dataset are shown."
    experiment.delete_runs("dataset > :last", {"last": "c"})
    (drawn, *_) = effects(study_of(experiment))
    assert drawn.note == ""
    assert "without dataset" in drawn.svg
