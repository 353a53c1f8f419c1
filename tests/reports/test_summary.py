"""What a summary says of studies as people have them, in text and as pictures."""

import base64
import math
import re
from datetime import timedelta
from xml.etree import ElementTree

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.orchestration.artifacts import artifact_key
from mltraq_prefect.reports.html.pictures import picture
from mltraq_prefect.reports.study.study import Choice, Study
from mltraq_prefect.reports.summary import MOST_BYTES, code, escaped, summary
from mltraq_prefect.reports.wording import duration, measured
from tests.studies import DATASETS, DAYS, GRIDS, add_families, measure, train

IMAGE = re.compile(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([^)]*)\)")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """A session with all studies."""
    folder = tmp_path_factory.mktemp("studies")
    with mltraq.create_session(f"sqlite:///{folder}/studies.db") as session:
        experiment = add_families(session.add_experiment("families"))
        experiment.execute(train, backend="local", on_error="keep")
        with pytest.raises(mltraq.RunsFailed):
            experiment.persist()
        for name, grid in GRIDS.items():
            experiment = session.add_experiment(name).add_runs(**grid)
            experiment.execute(measure, backend="local").persist()
        yield session


def told(session, name, *, last=None, page=None, **choice):
    """Return a summary without its pictures, and these by what is said of them."""
    study = Study(session._store.results(name, last=last), Choice(**choice))
    text = summary(study, page)
    assert len(text.encode()) <= MOST_BYTES
    drawn = {label: base64.b64decode(data).decode() for label, data in IMAGE.findall(text)}
    for svg in drawn.values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    return IMAGE.sub("", text), drawn


def rows_of(text):
    """Return the cells of the rows of the first table of configurations."""
    lines = text[text.index("| configuration |") :].splitlines()[2:]
    table = lines[: lines.index("")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def test_six_families_on_three_data_sets(studies):
    text, drawn = told(studies, "families")
    for dataset in DATASETS:
        assert "### dataset=" in text
        svg = drawn[f"accuracy, dataset={dataset}"]
        assert "model=svc, C=10, kernel=linear" in svg
        assert svg.count("<circle") == 19  # one configuration has failed
        assert '"error c0"' in svg
    assert "null" not in text
    assert "alpha=None" not in text
    assert "| `accuracy` | `loss` |  | configuration | runs | failed |" in text
    rows = rows_of(text)
    assert len(rows) == 20
    best = {row[3] for row in rows[:2]}
    assert best == {"model=svc, C=10, kernel=rbf", "model=svc, C=10, kernel=linear"}
    assert rows[1][2] == "≈"
    means = [float(row[0].split(" ")[0]) for row in rows[:-1]]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.97  # of one data set: a mean of all three is less
    assert rows[-1] == ["-", "-", "", "model=neighbours, k=1", "10", "10"]
    assert "`parameters`" not in text  # all runs have the same
    assert "## 30 runs failed" in text
    assert re.search(r"\| 30 \| ValueError: the digits data .* \| `studies.py:\d+ in train` ", text)
    assert "| `e_families` | 570 | completed |" in text


def test_the_param_that_varies_alone_is_an_axis(studies):
    text, drawn = told(studies, "rate", page="http://127.0.0.1:4242/experiments/e_rate/leaderboard")
    (svg,) = drawn.values()
    assert "error against rate" in svg
    assert svg.count("<circle") == 5
    assert ">0.0001<" in svg
    assert rows_of(text)[0][2:] == ["rate=0.01", "5"]
    assert "[Results page](http://127.0.0.1:4242/experiments/e_rate/leaderboard)" in text


def test_a_time_has_a_picture_of_its_own(studies):
    text, drawn = told(studies, "coin")
    assert list(drawn) == ["error", "error over slot"]
    assert all(f"N={n}" in drawn["error over slot"] for n in (1, 25, 50, 100))
    assert [row[2] for row in rows_of(text)] == ["N=1", "N=25", "N=50", "N=100"]
    text, drawn = told(studies, "days")
    assert list(drawn) == ["error"]
    assert "error against slot" in drawn["error"]
    assert "The best 20 of 30 configurations; 10 more." in text
    assert "±" not in text


def test_slots_of_many_parts_tell_which_are_left_out_and_which_have_no_part(session):
    experiment = session.add_experiment("parts")
    experiment.add_runs(slot=DAYS[:25], dataset=[f"d{place}" for place in range(8)])
    experiment.add_runs(slot=DAYS[:25], rate=[0.1])
    experiment.execute(measure, backend="local").persist()
    text, _ = told(session, "parts")
    slots = text[text.index("### The last 25 values of slot") :]
    assert slots.count("| 1 |") == 200
    assert "The last 200 of 225 rows of these; 25 more." in slots
    assert "| 2026-01-25 06:00 | - | 1 |" in slots


def test_the_last_slots_are_a_table_and_many_are_put_together_in_the_picture(studies, session):
    text, _ = told(studies, "coin")
    slots = text[text.index("### The last 12 values of slot") :].splitlines()
    assert len([line for line in slots if re.search(r"\| 2026-01-\d\d 06:00 \| 4 \|", line)]) == 12
    assert "2026-01-12 06:00" in slots[4]
    experiment = session.add_experiment("slots")
    experiment.add_runs(slot=[DAYS[0] + timedelta(hours=n) for n in range(1_000)])
    for place, run in enumerate(experiment.runs.values()):
        run.fields.error = float(place)
    experiment.persist()
    text, drawn = told(session, "slots")
    assert "### The last 50 of 1,000 values of slot" in text
    assert [f"| {n} |" in text for n in (949, 950, 999)] == [False, True, True]
    (line,) = re.findall(r'<path d="([^"]*)" class="line', drawn["error"])
    assert len(re.findall(r"[ML]", line)) == 200
    assert "A point is the mean of 5 times that follow each other, at the first of them." in text


def test_two_params_of_numbers_make_a_map(studies):
    _, drawn = told(studies, "two")
    assert list(drawn) == ["error", "error by rate and width"]
    assert drawn["error by rate and width"].count("<rect") == 1 + 20


def test_one_run_and_ten_thousand(studies):
    text, drawn = told(studies, "one")
    assert drawn == {}
    assert len(rows_of(text)) == 1
    text, drawn = told(studies, "many")
    assert "The best 20 of 1,000 configurations; 980 more." in text
    assert drawn["error"].count("<circle") == 20
    text, _ = told(studies, "many", last=2_000)
    assert "of the last 2,000 of 10,000 runs" in text
    assert "The best 20 of 200 configurations" in text
    assert "| 10,000 | completed | - |" in text


def test_the_fields_that_are_chosen_are_shown_and_the_first_decides(studies):
    text, drawn = told(studies, "families", shown=("parameters", "loss"))
    assert "## parameters, highest first" in text
    assert "| `parameters` | `loss` |" in text
    assert "`accuracy`" not in text.split("```sql")[0]
    assert len(drawn) == 3


def test_classes_are_named_without_their_package_where_that_tells_them_apart(session):
    names = ["sklearn.svm._classes.SVC(C=1.0)", "sklearn.naive_bayes.GaussianNB", "a.csv"]
    experiment = session.add_experiment("classes").add_runs(model=names, seed=[1, 2])
    for place, run in enumerate(experiment.runs.values()):
        run.fields.update(model="x", accuracy=0.9 - place / 100)
    experiment.persist()
    labels = [row[2] for row in rows_of(told(session, "classes")[0])]
    assert labels == ["model=SVC(C=1.0)", "model=GaussianNB", "model=a.csv"]
    experiment.add_runs(model=["other.GaussianNB"], seed=[1, 2])
    for run in experiment.runs.values():
        run.fields.accuracy = run.fields.get("accuracy", 0.1 * run.params.seed)
    experiment.persist(if_exists="merge")
    labels = [row[2] for row in rows_of(told(session, "classes")[0])]
    assert labels[1] == "model=sklearn.naive\\_bayes.GaussianNB"


def test_what_cannot_be_averaged_does_no_harm(session):
    experiment = session.add_experiment("odd").add_runs(x=[1, 2, 3, 4])
    values = [math.inf, math.nan, -1.0, 1e300]
    for value, run in zip(values, experiment.runs.values(), strict=True):
        run.fields.y = value
    experiment.persist()
    assert [row[0] for row in rows_of(told(session, "odd")[0])] == ["-1", "-", "-", "-"]
    for name, runs in (("none", {}), ("no numbers", {"x": [1]})):
        session.add_experiment(name).add_runs(**runs).persist()
        text, drawn = told(session, name)
        assert drawn == {}
        assert "configuration" not in text


def test_a_summary_is_bounded_whatever_the_experiment(session):
    long = "long name " * 40
    experiment = session.add_experiment("wide")
    experiment.add_runs(**{f"{long}{n}": [long * 9, f"{n}"] for n in range(4)}, task=range(20))
    for place, run in enumerate(experiment.runs.values()):
        run.fields.update({f"{long} {n}": place * n for n in range(1, 40)})
    experiment.persist()
    text, _ = told(session, "wide")
    assert "configuration" in text


def test_hostile_names_do_not_break_the_tables(session):
    name = "a|b`c<script>_*[x](y)\n#"
    assert escaped(name) == "a\\|b\\`c&lt;script>\\_\\*\\[x\\](y) \\#"
    assert code(name).count("`") == 2
    experiment = session.add_experiment(name).add_runs(**{name: [name, "2"]})
    for place, run in enumerate(experiment.runs.values()):
        run.fields.update({f"{name}!": place})
    experiment.persist()
    text, drawn = told(session, name)
    assert "<script>" not in text.split("```sql")[0].replace("`a\\|b'c<script>_*[x](y) #!`", "")
    assert all("<script" not in svg for svg in drawn.values())
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {4, 7}


def test_a_picture_stands_by_itself(studies):
    _, drawn = told(studies, "coin")
    svg = drawn["error"]
    assert "--c0: #3b6fd4" in svg
    assert "prefers-color-scheme" not in svg
    assert 'fill="#ffffff"' in svg
    assert not re.search(r"(href|src)=", svg.replace("http://www.w3.org/2000/svg", ""))
    assert picture('<svg viewBox="0 0 10 20"/>').count("<svg") == 2


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (0.0627248, 0.000497, "0.06272 ± 0.00050"),
        (1234.5, 12.3, "1234 ± 12"),
        (5.0, 0.0, "5"),
        (0.25, math.nan, "0.25"),
        (1e-12, 1e-13, "1.00e-12 ± 1e-13"),
        (1e9 + 0.25, 0.012, "1.000000000250e+09 ± 0.012"),
        (0.0, 1e-7, "0 ± 1e-07"),
        (math.inf, math.nan, "inf"),
    ],
)
def test_numbers_for_a_person(mean, error, text):
    assert measured(mean, error) == text


def test_durations_for_a_person():
    found = [duration(s) for s in (0.0123, 5, 300, 10_000)]
    assert found == ["12.3 ms", "5 s", "5 min", "2.78 h"]


def test_artifact_keys_are_allowed_and_one_a_table():
    assert artifact_key("e_coin_toss") == "mltraq-coin-toss"
    assert re.fullmatch("[a-z0-9-]+", artifact_key("e_a_b_x0123456789ab"))
