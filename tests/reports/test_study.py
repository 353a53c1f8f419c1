"""What a report shows of studies as people have them, in one file that needs nothing else."""

import math
import re
import sys
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.reports.figures.charts import COLOURS
from mltraq_prefect.reports.study.curves import curves
from mltraq_prefect.reports.study.effects import effects, heat_maps, history, parallel
from mltraq_prefect.reports.study.gaps import Gaps
from mltraq_prefect.reports.study.importance import importance
from mltraq_prefect.reports.study.leaderboard import leaderboards
from mltraq_prefect.reports.study.study import Choice, Study

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "br", "input", "img"}
AS_CSS = {"style", "fill", "stroke", "filter", "mask", "clip-path", "cursor"} | {
    f"marker-{place}" for place in ("start", "mid", "end")
}
"""Attributes that a browser reads as CSS, in pictures, too."""


class Parsed(HTMLParser):
    """What a page consists of: its tags, the text that it shows, and whether tags are closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.styles, self.open = set(), {}, [], [], []
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
        if self.open:
            (self.styles if self.open[-1] == "style" else self.texts).append(data)

    def css(self):
        """Return all that a browser reads as CSS, as one text."""
        of_attributes = (value for name in AS_CSS for value in self.attributes.get(name, ()))
        return "\n".join([*self.styles, *of_attributes])


def parsed(html):
    """Return a page, after a look at what no page may have."""
    page = Parsed(html)
    assert not page.tags & {"script", "iframe", "object", "img", "base"}
    assert not any(name.startswith("on") for name in page.attributes)
    asked = set().union(*(page.attributes.get(name, ()) for name in ("href", "src", "action")))
    assert all(re.match(r"/(?!/)|\?", address) for address in asked)
    assert not re.search(r"url\(|@import", page.css())
    return page


def test_a_page_may_show_what_it_may_not_ask_for():
    shown = "<!DOCTYPE html><style>a {color: red}</style><pre>+a {background: url(x.png)}</pre>"
    assert "url(x.png)" in parsed(shown).text
    for asking in ("<style>a {background: url(x.png)}</style>", '<p style="mask: url(x.svg)"></p>'):
        with pytest.raises(AssertionError):
            parsed(asking)


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
    titles = [own.title for own in effects(study_of(experiment)) if " by x" in own.title]
    assert len(titles) == 4
    assert titles[-1] == "score by x, without dataset"


@pytest.mark.parametrize("is_there", [True, False], ids=["scikit-learn", "without"])
def test_what_matters_comes_first_and_the_page_says_how_that_is_known(
    session, monkeypatch, is_there
):
    experiment = session.add_experiment("matters").add_runs(
        noise=range(4), much=["a", "b", "c"], little=[1, 2, 3]
    )
    for run in experiment.runs.values():
        run.fields.y = 10.0 * (run.params.much == "b") + run.params.little
    experiment.persist()
    if not is_there:
        monkeypatch.setitem(sys.modules, "sklearn", None)
    (drawn,) = importance(study_of(experiment))
    places = [drawn.svg.index(f">{name}<") for name in ("much", "little", "noise")]
    assert places == sorted(places)
    assert ("when the values of a param are shuffled" in drawn.note) == is_there
    assert ("With scikit-learn installed" in drawn.note) != is_there


def none_is_best(session):
    experiment = session.add_experiment("none").add_runs(
        model=["tree", "forest"], depth=[3, 12, None], weight=["equal", None], seed=range(3)
    )
    experiment.add_runs(model=["svc"], C=[1, 10], seed=range(3))
    for run in experiment.runs.values():
        best = run.params.get("depth", 3) is None
        run.fields.accuracy = 0.7 + 0.2 * best + 0.01 * run.params.seed
    return experiment.persist()


def test_a_param_that_is_none_is_a_value_as_any_other(session):
    study = study_of(none_is_best(session))
    (board,) = leaderboards(study)
    assert [row.label for row in board.rows if "model=forest" in row.label][:2] == [
        "model=forest, depth=none, weight=equal",
        "model=forest, depth=none, weight=none",
    ]
    assert {row.label for row in board.rows if "model=svc" in row.label} == {
        "model=svc, C=1",
        "model=svc, C=10",
    }
    drawn = {own.title: own.svg for own in effects(study)}
    assert re.findall(r">(none|3|12)<", drawn["accuracy by depth"]) == ["none", "3", "12"]
    assert set(re.findall(r">(none|equal)<", drawn["accuracy by weight"])) == {"none", "equal"}
    assert "none" not in drawn["accuracy by C"]
    (heat,) = heat_maps(Study(study.results, Choice(by=("depth", "weight"))))
    assert re.findall(r">(none|3|12)<", heat.svg)[-3:] == ["3", "12", "none"]
    assert ">none<" in parallel(study)[0].svg
    (chosen,) = leaderboards(Study(study.results, Choice(by=("depth",))))
    assert {row.label for row in chosen.rows} == {"depth=none or absent", "depth=3", "depth=12"}


def test_runs_without_a_param_are_none_of_its_values():
    families = pd.DataFrame(
        {"model": ["svc", "svc", "tree", "tree"], "C": [1.0, 10.0, None, None]},
    )
    gaps = Gaps(families.assign(depth=[None, None, 3.0, None]), ["model"])
    assert gaps.texts == {"depth": "none"}
    assert gaps.told("depth", {"model": "tree"}) == "none"
    assert gaps.told("depth", {"model": "svc"}) is None
    assert gaps.told("C", {"model": "tree"}) is None
    other = pd.DataFrame({"weight": ["none", None], "seed": [0, 1]})
    assert Gaps(other, []).texts == {"weight": "(none)"}
    drawn = pd.DataFrame({"x": np.linspace(0, 1, 60), "limit": [*range(59), None]})
    gaps = Gaps(drawn, [])
    assert gaps.texts == {"limit": "none"}
    assert gaps.filled(drawn["limit"]).isna().sum() == 1


def test_each_part_of_the_work_has_an_axis_that_fits_its_values(families):
    drawn = {own.title: own.svg for own in effects(study_of(families))}
    assert {"accuracy by C, dataset=digits", "accuracy by C, dataset=iris"} <= drawn.keys()
    low, high = (drawn[f"accuracy by C, dataset={name}"] for name in ("iris", "digits"))
    assert re.search(r">0\.6\d*<", low)
    assert not re.search(r">0\.9\d*<", low)
    assert re.search(r">0\.9\d*<", high)


@pytest.mark.parametrize("is_there", [True, False], ids=["scikit-learn", "without"])
def test_what_only_one_family_has_does_not_stand_for_the_family(session, monkeypatch, is_there):
    experiment = session.add_experiment("families")
    experiment.add_runs(model=["svc"], C=[1, 10, 100], seed=range(8))
    experiment.add_runs(model=["ridge"], alpha=[0.1, 1.0, 10.0], seed=range(8))
    experiment.add_runs(model=["bayes"], seed=range(24))
    for run in experiment.runs.values():
        level = {"svc": 0.9, "ridge": 0.5, "bayes": 0.8}[run.params.model]
        run.fields.accuracy = level + 0.001 * run.params.seed
    experiment.persist()
    if not is_there:
        monkeypatch.setitem(sys.modules, "sklearn", None)
    (drawn,) = importance(study_of(experiment))
    values = dict(re.findall(r"<title>(\w+): importance (-?[\d.e-]+)", drawn.svg))
    assert float(values["model"]) > 0.5
    assert max(float(values[name]) for name in ("C", "alpha")) < 0.01


def wine_first(run):
    run.fields.y = run.params.day.day
    run.log(loss=1.0)


def test_a_part_of_the_work_has_one_colour_on_all_figures(session):
    days = [date(2026, 1, day) for day in (1, 2)]
    experiment = session.add_experiment("colours")
    experiment.add_runs(dataset=["wine", "digits"], day=days)
    experiment.execute(wine_first, backend="local").persist()
    study = study_of(experiment)
    labels = [re.findall(r"dataset=\w+<", drawn(study)[0].svg) for drawn in (history, curves)]
    assert labels == [["dataset=wine<", "dataset=digits<"]] * 2
