"""The results pages: what a person finds there, what is refused, and that nothing is executed."""

import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import uvicorn

import mltraq_prefect as mltraq
from mltraq_prefect.cli import main
from mltraq_prefect.model.spool import own_spool
from mltraq_prefect.reports.study.results import Header, StateTotal
from mltraq_prefect.storage import Store
from mltraq_prefect.ui.app import make_app
from mltraq_prefect.ui.pages.experiment import refresh_after
from mltraq_prefect.ui.pages.experiments import ON_A_PAGE
from mltraq_prefect.ui.serve import listening
from tests import servers
from tests.reports.test_study import HOSTILE, add_families, parsed, train
from tests.ui.browser import opened


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A database with a study of families, and an experiment whose names and values are hostile."""
    file = tmp_path_factory.mktemp("results") / "study.db"
    fill(f"sqlite:///{file}")
    return file


def fill(url):
    with mltraq.create_session(url) as session:
        for name in ("families", "families again"):
            experiment = add_families(session.add_experiment(name))
            experiment.tags["paper" if "again" in name else "idea & more"] = ""
            experiment.execute(train, backend="local", on_error="keep")
            with pytest.raises(mltraq.RunsFailed):
                experiment.persist()
        hostile = session.add_experiment(HOSTILE).add_runs(**{HOSTILE: [HOSTILE, "b"]})
        for run in hostile.runs.values():
            run.fields.update({"score": 1.0, HOSTILE: HOSTILE, "line": np.arange(50.0)})
            run.fields.frame = pd.DataFrame({HOSTILE: [HOSTILE]})
            run.fields.surrogate = "\ud800"
            run.fields.frame.index = pd.Index([0], name=HOSTILE)
            run.fields.matrix = np.ones((30, 3))
        hostile.persist()


def _client(url):
    return httpx.Client(base_url=url, timeout=60, trust_env=False)


@contextmanager
def client_of(file, **options):
    """Yield a client of a server in a thread; the database is a file, or has a URL."""
    store = Store(file if "://" in str(file) else f"sqlite:///{file}")
    with listening("127.0.0.1", 0, None) as (socket, url), _client(url) as client:
        config = uvicorn.Config(make_app(store, **options), log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield client
        finally:
            server.should_exit = True
            thread.join()
            store.close()


@pytest.fixture(scope="module")
def client(database):
    with client_of(database) as opened_client:
        yield opened_client


def page_of(client, address, status=200):
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return parsed(answer.text)


def links_of(page, part):
    return [link for link in page.attributes.get("href", ()) if part in link]


def test_the_list_of_experiments(client):
    page = page_of(client, "/")
    for text in ("families", "families again", HOSTILE, "60 of 64", "accuracy"):
        assert text in page.text
    found = page_of(client, "/?q=AGAIN")
    assert (
        links_of(found, "/experiments/") == ["/experiments/e_families_again"]
        or len(links_of(found, "/experiments/")) == 1
    )
    assert "No experiment has such a name" in page_of(client, "/?q=zzz").text
    (link,) = links_of(page, "idea")
    tagged = page_of(client, link)
    assert links_of(tagged, "/experiments/") == ["/experiments/e_families"]
    assert "No experiment has this tag" in page_of(client, "/?tag=idea").text


@pytest.mark.parametrize(
    ("part", "texts"),
    [
        ("leaderboard", ["dataset=digits", "model=svc, C=10, kernel=rbf", "≈"]),
        ("runs", ["64 runs", "failed", "svc"]),
        ("effects", ["accuracy by C", "accuracy by model, dataset=iris"]),
        ("heat-map", ["dataset=digits"]),
        ("parallel", ["60 of 64 runs"]),
        ("importance", ["What matters for accuracy"]),
        ("curves", ["logged", "dataset=digits", "step"]),
        ("history", ["No param is a time."]),
        ("code", ["train", "test_study.train", "def train(run)", "Python"]),
        ("failures", ["4 runs: ValueError", "in test_study.py"]),
    ],
)
def test_each_part_of_an_experiment_has_an_address(client, part, texts):
    page = page_of(client, f"/experiments/e_families/{part}")
    for text in ("families", "64 runs", "4 failed", *texts):
        assert text in page.text


def test_curves_are_of_the_values_of_the_param_that_is_chosen(client):
    page = page_of(client, "/experiments/e_families/curves?metric=accuracy&by=model")
    assert "model=svc" in page.text
    assert "logged, dataset=digits" in page.text
    assert "accuracy" in page.attributes["value"]  # the choice of a metric for other parts stays
    partial = page_of(client, "/experiments/e_families/curves?by=C").text
    assert "C=10" in partial
    assert "without C" in partial


def test_executions_are_listed_shown_and_compared(client, database):
    with mltraq.create_session(f"sqlite:///{database}") as session:
        experiment = session.add_experiment("origins").add_runs(x=[1, 2])
        for rate in (0.25, 0.5):
            experiment.execute(rated, {"rate": rate, "s": HOSTILE}, backend="local", rerun=True)
        first, second = experiment.persist().executions.index
    page = page_of(client, "/experiments/e_origins/code")
    for text in ("kwargs.rate", "rate=0.25", "0.5", "compare with the one before", HOSTILE, second):
        assert text in page.text
    (compare,) = links_of(page, f"with={first}")
    compared = page_of(client, compare).text
    assert f"execution={second}" in compare
    heading = "What differs from the execution of" + " 20"  # the page shows these lines, too
    assert heading in compared
    older = page_of(client, f"/experiments/e_origins/code?execution={first}").text
    assert heading not in older
    page_of(client, "/experiments/e_origins/code?execution=none", status=400)
    page_of(client, "/experiments/e_origins/code?with=none", status=400)
    run = page_of(client, links_of(page_of(client, "/experiments/e_origins/runs"), "/run/")[0])
    assert links_of(run, f"execution={second}")
    empty = page_of(client, f"/experiments/{quote(Store('sqlite://').table_of(HOSTILE))}/code")
    assert "Nothing is known of executions" in empty.text


def rated(run):
    run.fields.y = run.params.x * run.kwargs.rate


def test_a_live_page_is_read_again_while_more_is_expected(client, database):
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    done, pending = {"completed": StateTotal(1, 0, 0)}, {"pending": StateTotal(1, 0, 0)}

    def after(states, **ago):
        written = now - timedelta(**ago)
        return refresh_after(Header("x", "e_x", 1, states, None, written, 1, "", {}, 1), now)

    assert after(done, minutes=1) == after(pending, minutes=1) == 5
    assert after(done, minutes=11) is None
    assert (after(pending, minutes=11), after(pending, days=1)) == (11, 60)
    address = "/experiments/e_families/runs?live=1"
    assert "read again every 5 seconds" in page_of(client, address).text
    assert 'http-equiv="refresh" content="5"' in client.get(address).text
    assert "refresh" not in client.get("/experiments/e_families/runs").text


def test_failures_lead_to_their_runs_and_a_map_is_of_params_that_are_chosen(client):
    (link,) = links_of(page_of(client, "/experiments/e_families/failures"), "state%3Ais%3Afailed")
    assert "4 runs" in page_of(client, link).text
    chosen = client.get("/experiments/e_families/heat-map?by=C&by=kernel").text
    assert "by kernel and C" in chosen or "by C and kernel" in chosen


def test_a_leaderboard_leads_to_its_runs_and_these_to_a_run(client):
    board = page_of(client, "/experiments/e_families/leaderboard?metric=loss&by=model&by=kernel")
    assert "lowest loss first" in board.text
    (link,) = [own for own in links_of(board, "linear") if "iris" in own]
    runs = page_of(client, link)
    assert "8 runs" in runs.text
    assert "kernel = linear" in runs.text
    failed = page_of(client, f"{link}&column=state&operator=is&value=failed")
    (address,) = links_of(failed, "/run/")[:1]
    assert len(links_of(failed, "/run/")) == 2
    run = page_of(client, address)
    (good,) = links_of(page_of(client, f"{link}&column=seed&operator=is&value=1&f=C:is:1"), "/run/")
    completed = page_of(client, good)
    assert "Series" in completed.text
    assert "logged" in completed.text
    for text in ("ValueError", "dataset", "iris", "failed", "train", "Steps", "of CPU", HOSTILE):
        assert text in run.text


def test_runs_are_filtered_sorted_and_chosen(client):
    base = "/experiments/e_families/runs"
    best = client.get(f"{base}?sort=accuracy&desc=1&c=accuracy").text
    values = [float(own) for own in re.findall(r'class="n">([\d.]+)<', best)]
    assert values == sorted(values, reverse=True)
    assert len(values) == 50
    assert "page 2 of 2" in page_of(client, f"{base}?page=2").text
    assert "24 runs" in page_of(client, f"{base}?f=model:is:forest&f=accuracy:gt:0.1").text
    assert "32 runs" in page_of(client, f"{base}?f=C:missing:").text


def test_experiments_and_groups_are_compared(client):
    page = page_of(client, "/compare?e=e_families")
    assert "svc" in page.text
    assert "Welch t" in page.text
    digits, iris = page.text.partition("dataset=iris")[::2]
    for part, level in ((digits.partition("dataset=digits")[2], 0.6), (iris, 0.3)):
        bayes = re.search(r"bayes forest .*? ([0-9.]+), [0-9.]+ Welch t", part)
        assert float(bayes[1]) == pytest.approx(level, abs=0.05)
    (other,) = links_of(page_of(client, "/?q=again"), "/experiments/")
    both = page_of(client, f"/compare?e=e_families&e={other.rpartition('/')[2]}&metric=loss")
    assert "families again" in both.text
    assert "Differences of loss" in both.text
    tables, logged = both.text.split("Differences of loss")[1].split("Curves")
    titles = ["dataset: all together", "dataset=digits", "dataset=iris"]
    assert re.findall("dataset: all together|dataset=(?:digits|iris)", tables) == titles
    assert all(f"logged, {title}" in logged for title in titles[1:])
    assert "Curves" in both.text
    assert "logged against step" in str(both.attributes["aria-label"])
    assert "families again: no loss in 4 of 64 runs; left out." in both.text


def test_a_comparison_tells_what_is_not_in_pairs_and_what_is_left_out(tmp_path):
    def measure(run):
        run.fields.accuracy = run.rng.normal()
        run.log(0, **{f"key_{number}": 1.0 for number in range(9)})

    with mltraq.create_session(f"sqlite:///{tmp_path}/parts.db") as session:
        parted = session.add_experiment("parted")
        parted.add_runs(dataset=[f"d{place}" for place in range(8)], model=["a", "b"], seed=[0, 1])
        lonely = session.add_experiment("lonely")
        for model, seeds in (("a", [0, 1, 2]), ("b", [3, 4, 5])):
            lonely.add_runs(dataset=["apart"], model=[model], seed=seeds)
        lonely.add_runs(dataset=["pairs"], model=["a", "b"], seed=range(5))
        many = session.add_experiment("many").add_runs(model=range(12), seed=[0, 1])
        for own in (parted, lonely, many):
            own.execute(measure, backend="local").persist()
    with client_of(tmp_path / "parts.db") as client:
        page = page_of(client, "/compare?e=e_parted").text
        assert "parted: 6 of 8 values of dataset are shown." in page
        assert "Of 9 keys that were logged, 8 are shown." in page
        apart, pairs = page_of(client, "/compare?e=e_lonely").text.split("dataset=pairs")[:2]
        assert "Not in pairs: model=b and model=a have no pair" in apart
        assert "Welch t" in apart.split("dataset=apart")[1]
        assert "paired t" in pairs
        crowd = page_of(client, "/compare?e=e_many&by=model").text
        assert "The surest 60; 6 more comparisons are left out." in crowd
        assert "6 of 12 lines are shown." in crowd


def test_runs_are_shown_side_by_side(client):
    runs = page_of(client, "/experiments/e_families/runs?f=dataset:is:iris&f=C:is:10")
    checked = sorted(own for own in runs.attributes["value"] if own.startswith("e_families:"))
    assert len(checked) == 8
    query = "&".join(f"r={own}" for own in checked[:3])
    page = page_of(client, f"/compare/runs?{query}")
    for text in ("Params that are the same", "dataset", "kernel", "accuracy", "Curves", "logged"):
        assert text in page.text
    differing, _, same = page.text.partition("Params that are the same")
    assert "seed" in differing
    assert "model svc svc svc" in same
    assert len(links_of(page, "/run/")) == 3
    (hostile,) = [own for own in links_of(page_of(client, "/"), "/experiments/") if "script" in own]
    one = sorted(
        own for own in page_of(client, f"{hostile}/runs").attributes["value"] if "e_" in own
    )
    mixed = page_of(client, f"/compare/runs?r={one[0]}&r={checked[0]}")
    for text in (HOSTILE, "families", "[1., 1., 1.]"):
        assert text in mixed.text
    for bad, status in (
        ("", 400),
        ("?" + "&".join(f"r={own}" for own in checked), 400),
        ("?r=e_families:nothing", 404),
        ("?r=nothing", 404),
    ):
        page_of(client, f"/compare/runs{bad}", status)


def test_hostile_names_and_values_are_shown_as_text(client):
    (address,) = [own for own in links_of(page_of(client, "/"), "/experiments/") if "script" in own]
    for part in ("leaderboard", "runs", "effects", "parallel"):
        assert HOSTILE in page_of(client, f"{address}/{part}").text
    run = page_of(client, links_of(page_of(client, f"{address}/runs"), "/run/")[0])
    for text in (
        HOSTILE,
        "array (50,) float64",
        "array (30, 3) float64",
        "DataFrame (1, 1)",
        "surrogate",
    ):
        assert text in run.text
    table = address.rpartition("/")[2]
    assert (
        HOSTILE.partition("<img")[0]
        in page_of(client, f"/compare?e={table}&by={quote(HOSTILE)}", 200).text
    )


@pytest.mark.parametrize(
    ("address", "status", "text"),
    [
        ("/experiments/e_nothing/runs", 404, "deleted or renamed"),
        ("/experiments/e_families/nothing", 404, "There is no such page"),
        ("/experiments/e_families/run/nothing", 404, "no such run"),
        ("/experiments/e_families/effects?metric=zzz", 400, "no numeric field or time 'zzz'"),
        ("/experiments/e_families/runs?f=zzz:is:1", 400, "none on a column"),
        ("/experiments/e_families/runs?f=seed:is:zzz", 400, "'zzz' is not of kind int"),
        (f"/experiments/e_families/runs?f=seed:is:{2**63}", 400, "is not of kind int"),
        (f"/experiments/e_families/runs?page={10**30}", 200, "64 runs"),
        (f"/?page={10**30}", 200, "families"),
        ("/experiments/e_families/leaderboard?by=zzz", 400, "no column 'zzz'"),
        ("/compare", 400, "choose up to"),
        ("/nothing", 404, "There is no such page"),
    ],
)
def test_what_cannot_be_shown_is_a_sentence(client, address, status, text):
    assert text in page_of(client, address, status).text


def test_a_password_and_the_name_of_the_server(database):
    with client_of(database, password="open ä", hosts=["127.0.0.1"]) as client:
        assert client.get("/").status_code == 401
        assert client.get("/", auth=("any", "wrong")).status_code == 401
        assert client.get("/", auth=("any", "open ä".encode())).status_code == 200
        assert client.get("/style.css").status_code == 401
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
        assert client.post("/", auth=("any", "open ä".encode())).status_code == 405


def test_empty_databases_and_such_that_go_away_and_come_back(database, tmp_path):
    file = tmp_path / "study.db"
    file.touch()
    with client_of(file) as client:
        assert "The database is empty" in page_of(client, "/").text
        shutil.copy(database, file)
        assert "families" in page_of(client, "/").text
        leaderboard = "/experiments/e_families/leaderboard"
        assert page_of(client, leaderboard)
        file.rename(tmp_path / "away.db")
        for address in ("/", leaderboard):
            assert "asks again by itself" in page_of(client, address, 503).text
            assert 'http-equiv="refresh"' in client.get(address).text
        (tmp_path / "away.db").rename(file)
        assert page_of(client, leaderboard)
        with mltraq.create_session(f"sqlite:///{file}") as session:
            session.load("families").delete()
        assert "deleted or renamed" in page_of(client, leaderboard, 404).text


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_the_list_costs_the_same_however_many_experiments_there_are(backend, tmp_path):
    with databases(backend, tmp_path) as url, mltraq.create_session(url) as session:
        asked = []
        for more in (ON_A_PAGE + 2, 30):
            for number in range(len(asked) * 100, len(asked) * 100 + more):
                session.add_experiment(f"study {number}").add_runs(x=[1, 2]).persist()
            with client_of(url) as client, statements() as found:
                assert "page 1 of 2" in page_of(client, "/").text
            asked.append(len(found))
        assert asked[0] == asked[1]


@contextmanager
def databases(backend, folder):
    """Yield the URL of an empty database."""
    if backend == "sqlite":
        yield f"sqlite:///{folder}/many.db"
    else:
        with servers.postgresql_database() as url:
            yield url


@contextmanager
def statements():
    """Yield a list of what databases are asked, as it grows."""
    found = []

    def note(_connection, _cursor, statement, *_more):
        found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def test_a_corrupt_cell_says_so_and_the_page_stands(database, tmp_path):
    file = shutil.copy(database, tmp_path / "study.db")
    with client_of(file) as client:
        (address,) = [
            own for own in links_of(page_of(client, "/"), "/experiments/") if "script" in own
        ]
        table = address.rpartition("/")[2]
        with sqlite3.connect(file) as connection:
            connection.execute(f'UPDATE "{table}" SET line = zeroblob(40)')
            connection.execute("DELETE FROM experiment_values")
        run = page_of(client, links_of(page_of(client, f"{address}/runs"), "/run/")[0])
        assert "corrupt:" in run.text
        assert "score" in run.text


def test_corrupt_params_of_one_run_say_so_and_the_pages_stand(database, tmp_path):
    file = shutil.copy(database, tmp_path / "study.db")
    with sqlite3.connect(file) as connection:
        one = "SELECT id_experiment FROM experiments WHERE name = 'families'"
        for position in (3, 4):  # 4 has failed
            connection.execute(
                "UPDATE experiment_runs SET params = substr(params, 1, 20) "
                f"WHERE id_experiment = ({one}) AND position = {position}"
            )
    with client_of(file) as client:
        assert "60 of 64" in page_of(client, "/").text
        for part in ("leaderboard", *PARTS, "history"):
            page = page_of(client, f"/experiments/e_families/{part}")
            if part not in ("history", "failures", "curves"):
                assert "The params of 2 runs are corrupt" in page.text, part
        runs = page_of(client, "/experiments/e_families/runs?f=model:missing:")
        assert "2 runs" in runs.text
        assert runs.text.count("params corrupt") == 2
        for address in links_of(runs, "/run/"):
            run = page_of(client, address)
            assert "corrupt:" in run.text
            assert "accuracy" in run.text or "ValueError" in run.text
        assert "params=corrupt" in page_of(client, "/experiments/e_families/failures").text
        assert page_of(client, "/compare?e=e_families")
    with mltraq.create_session(f"sqlite:///{file}") as session:
        file = session.load("families", columns=[]).report(tmp_path / "x.html")
    assert "The params of 2 runs are corrupt" in parsed(file.read_text()).text


@pytest.mark.parametrize("corrupted", ["kwargs_exact", "steps", "versions"])
def test_a_corrupt_execution_says_so_and_the_report_stands(database, tmp_path, corrupted):
    file = shutil.copy(database, tmp_path / "study.db")
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE experiment_executions SET {corrupted} = '{{'")
    with client_of(file) as client:
        page = page_of(client, "/experiments/e_families/code")
        assert "corrupt" in page.text
    with mltraq.create_session(f"sqlite:///{file}") as session:
        report = session.load("families", columns=[]).report(tmp_path / "x.html")
    assert "Leaderboard" in parsed(report.read_text()).text


@pytest.fixture(scope="module")
def address(database):
    """The pages as the command line serves them."""
    command = [sys.executable, "-m", "mltraq_prefect", "ui", "--database", f"sqlite:///{database}"]
    process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        line = process.stderr.readline()
        yield re.search(r"http://[\d.:]+", line)[0]
    finally:
        process.terminate()
        process.wait(120)
        process.stderr.close()


THEMES = {"light": "#ffffff", "dark": "#15181f"}


def test_a_person_goes_from_experiment_to_run_in_a_browser(address, tmp_path):
    with opened(tmp_path) as page:
        page.call("Page.navigate", url=address)
        page.wait_for_text("families again")
        page.click("families")
        page.wait_for_text("Leaderboard", "model=svc, C=10, kernel=rbf")
        page.click("Runs")
        page.wait_for_text("page 1 of 2")
        page.evaluate("document.querySelector('td a').click()")
        page.wait_for_text("Params", "Fields", "accuracy")
        run = page.evaluate("location.pathname")
        page.click("families")
        page.wait_for_text("64 runs")
        for place in (0, 9):
            page.evaluate(f"document.querySelectorAll('input[name=r]')[{place}].click()")
        page.click("Side by side")
        page.wait_for_text("Params that are the same", "Curves")
        side = page.evaluate("location.pathname + location.search")
        page.click("families")
        page.wait_for_text("64 runs")
        parts = {own: f"/experiments/e_families/{own}" for own in (*PARTS, "history")}
        others = {"list": "/", "run": run, "side-by-side": side, "compare": "/compare?e=e_families"}
        page.call("Page.navigate", url=address)
        page.wait_for_text("families again")
        page.click(HOSTILE)
        page.wait_for_text("Leaderboard", "score")
        page.click("Runs")
        page.wait_for_text("Side by side")
        page.evaluate("document.querySelector('td a').click()")
        page.wait_for_text("Params", "values")
        others["hostile"] = page.evaluate("location.pathname")
        others["missing"] = "/experiments/e_nothing/runs"
        for name, part in (parts | others).items():
            page.call("Page.navigate", url=f"{address}{part}")
            page.wait_for_text(*TEXTS.get(name, ["families", "64 runs"]))
            for theme in THEMES:
                for width in (1400, 390):
                    look(page, f"results-{name}-{theme}-{width}", theme, width)


TEXTS = {
    "list": ["families again", "accuracy"],
    "run": ["Params", "Steps", "id_run"],
    "hostile": ["array (30, 3) float64", "values"],
    "side-by-side": ["Params that are the same", "logged"],
    "compare": ["Differences of accuracy", "Curves"],
    "missing": ["Not there", "deleted or renamed"],
}
"""What a person looks for on pages that are not parts of an experiment."""

PARTS = (
    "leaderboard",
    "runs",
    "effects",
    "heat-map",
    "parallel",
    "importance",
    "curves",
    "failures",
)


def look(page, name, theme, width):
    """Keep what a page looks like in a theme, and see that it fits and asks nobody else."""
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    page.call("Emulation.setDeviceMetricsOverride", **size)
    feature = {"name": "prefers-color-scheme", "value": theme}
    page.call("Emulation.setEmulatedMedia", features=[feature])
    page.wait(f"innerWidth === {width}", f"a width of {width}")
    paper = "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()"
    page.wait(f"{paper} === '{THEMES[theme]}'", f"the {theme} theme")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    if "leaderboard" in name:
        dots = "[...document.querySelectorAll('.dots circle')].map(e => e.getBoundingClientRect())"
        assert page.evaluate(f"{dots}.every(at => at.right <= innerWidth)")
    asked = "performance.getEntriesByType('resource').map(e => new URL(e.name).host)"
    assert set(page.evaluate(asked)) <= {page.evaluate("location.host")}
    page.screenshot(name)


def test_the_commands(database, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{database}"
    assert main(["report", "families", "--database", url, "--metric", "loss"]) == 0
    assert "Leaderboard" in parsed((tmp_path / "families.html").read_text()).text
    assert main(["report", "nothing", "--database", url]) == 1
    assert "no experiment 'nothing'" in capsys.readouterr().err
    assert main(["ui", "--database", url, "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "MLTRAQ_UI_PASSWORD" in capsys.readouterr().err
    assert main(["ui", "--database", url, "--port", "70000"]) == 1
    assert "nothing can listen on 127.0.0.1, port 70000" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["starlette", "uvicorn"])
def test_without_the_extra_the_command_says_what_to_install(database, library):
    program = [sys.executable, "-c", WITHOUT.format(library), f"sqlite:///{database}"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"{library} is not installed" in line
    assert "pip install" in line


WITHOUT = """
import importlib.metadata, sys
version = importlib.metadata.version
def without(name):
    if name == {0!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version, sys.modules[{0!r}] = without, None
from mltraq_prefect.cli import main
sys.exit(main(["ui", "--database", sys.argv[1], "--port", "0"]))
"""
"""A program in which a library is not installed."""


def test_a_browser_saves_files_and_shows_none(tmp_path):
    hostile = "<script>alert(1)</script>.html"
    file = tmp_path / "files.db"
    with mltraq.create_session(f"sqlite:///{file}") as session:
        experiment = session.add_experiment("kept")
        with experiment.run(n=1) as run:
            run.files["model.bin"] = b"\0\1" * 1_000
            run.files[f"a b/{hostile}"] = b"<script>alert(1)</script>"
        experiment.persist()
    with client_of(file) as client:
        address = f"/experiments/e_kept/run/{run.id_run}"
        page = page_of(client, address)
        links = sorted(links_of(page, "/file?"))
        assert len(links) == 2
        for link, content in zip(
            links, (b"<script>alert(1)</script>", b"\0\1" * 1_000), strict=True
        ):
            answer = client.get(link)
            assert (answer.status_code, answer.content) == (200, content)
            assert answer.headers["content-disposition"].startswith("attachment;")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["x-content-type-options"] == "nosniff"
        for name in ("none", "../model.bin", ""):
            assert client.get(f"{address}/file", params={"name": name}).status_code == 404
        assert hostile not in client.get(address).text
        with sqlite3.connect(file) as connection:
            connection.execute("UPDATE experiment_file_pieces SET data = x'00'")
        answer = client.get(links[1])
        assert answer.status_code == 500
        assert "model.bin" in answer.text
    kept = [path for path in Path(own_spool().folder).iterdir() if path.name.startswith("tmp")]
    assert kept == [], "what was sent, or could not be, is still on the disk of the server"
