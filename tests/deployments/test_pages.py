"""What a person looks for in the Prefect UI, in a real browser."""

import os
import subprocess
import sys

import pytest

import mltraq_prefect as mltraq
from tests.ui.browser import opened

DRAWN = """(() => {
    const image = [...document.images].find(i => i.src.startsWith('data:image/svg+xml'));
    if (!image || !image.complete || !image.naturalWidth) return 0;
    const canvas = document.createElement('canvas');
    canvas.width = 300; canvas.height = 150;
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0, 300, 150);
    return new Set(new Uint32Array(context.getImageData(0, 0, 300, 150).data.buffer)).size;
})()"""
"""JavaScript: how many colours the picture of the page has; 0 if there is none."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


def flow_run_url(deployed, run):
    return f"{deployed.url}/runs/flow-run/{run['id']}"


def test_the_task_runs_of_a_flow_run_are_named_for_step_and_params(deployed, tossed, page):
    toss, _ = tossed
    page.open(flow_run_url(deployed, toss))
    page.wait_for_text(toss["name"], "Completed")
    page.click("Task Runs")
    names = [f"toss_coins N={n}" for n in (1, 25, 50, 100)]
    page.wait_for_text(*names, "persist coin_toss")
    page.screenshot("task-runs")


def test_the_artifacts_of_a_flow_run_are_its_progress_and_its_summary(deployed, tossed, page):
    toss, _ = tossed
    page.open(flow_run_url(deployed, toss))
    page.click("Artifacts")
    page.wait_for_text("PROGRESS", "mltraq-coin-toss")
    page.screenshot("artifacts-of-a-flow-run")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_summary_shows_its_tables_and_its_picture(deployed, tossed, page, theme):
    _, evaluation = tossed
    (artifact,) = deployed.post(
        "artifacts/filter",
        artifacts={"key": {"any_": ["mltraq-coin-toss"]}},
        flow_runs={"id": {"any_": [evaluation["id"]]}},
    )
    page.open(f"{deployed.url}/artifacts/artifact/{artifact['id']}", theme=theme)
    page.wait_for_text("coin_toss", "e_coin_toss", "completed", "error, lowest first", "N=25")
    page.wait_for_text("FROM v_coin_toss")
    page.wait(f"{DRAWN} > 3", "the picture, in several colours")
    page.wait(f"document.documentElement.className.includes('{theme}')", f"the {theme} theme")
    page.screenshot(f"summary-{theme}")


def test_the_history_of_an_experiment_is_one_page(deployed, tossed, page):
    toss, evaluation = tossed
    page.open(f"{deployed.url}/artifacts/key/mltraq-coin-toss")
    page.wait_for_text(toss["name"], evaluation["name"])
    page.screenshot("history")


def test_the_evaluation_is_a_flow_run_of_its_own_started_by_the_event(deployed, tossed, page):
    _, evaluation = tossed
    page.open(flow_run_url(deployed, evaluation))
    page.wait_for_text(evaluation["name"], "evaluate", "Completed")
    page.click("Task Runs")
    page.wait_for_text("metrics N=25", "persist coin_toss")
    page.screenshot("evaluation")


def test_the_event_is_in_the_event_feed(deployed, tossed, page):
    page.open(f"{deployed.url}/events")
    page.wait_for_text("mltraq.experiment.persisted")
    page.screenshot("events")


@pytest.fixture
def pages(deployed):
    """The results pages of the deployments' database, as a person starts them."""
    command = [sys.executable, "-m", "mltraq_prefect", "--database", deployed.database, "ui"]
    port = deployed.pages.rpartition(":")[2]
    process = subprocess.Popen(
        [*command, "--port", port],
        env=os.environ | deployed.settings,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert deployed.pages in process.stderr.readline()
        yield deployed.pages
    finally:
        process.terminate()
        process.wait(120)
        process.stderr.close()


def test_a_person_goes_from_the_summary_to_runs_to_prefect_and_back(deployed, tossed, page, pages):
    toss, evaluation = tossed
    assert (toss["tags"], evaluation["tags"]) == (["coin_toss"], ["coin_toss"])
    page.open(f"{deployed.url}/artifacts/key/mltraq-coin-toss")
    page.open(f"{deployed.url}/runs/flow-run/{evaluation['id']}")
    page.wait_for_text("coin_toss", "Completed")
    (artifact,) = deployed.post(
        "artifacts/filter",
        artifacts={"key": {"any_": ["mltraq-coin-toss"]}},
        flow_runs={"id": {"any_": [evaluation["id"]]}},
    )
    page.open(f"{deployed.url}/artifacts/artifact/{artifact['id']}")
    page.wait_for_text("Results page")
    link = "[...document.links].find(a => a.innerText.trim() === 'Results page').href"
    page.call("Page.navigate", url=page.evaluate(link))
    page.wait_for_text("Leaderboard", "N=25", "error")
    page.click("Runs")
    page.wait_for_text("param_slot")
    page.click("open")
    page.wait_for_text("Params", "Fields", "task run in Prefect")
    address = page.evaluate("location.href")
    page.click("task run in Prefect")
    page.wait_for_text("metrics N=", "Completed")
    page.screenshot("task-run-of-a-run")
    page.evaluate("history.back()")
    page.wait(f"location.href === '{address}'", "the page of the run")
    page.click("flow run in Prefect")
    with mltraq.create_session(deployed.database) as session:
        run = session.load("coin_toss").runs[address.rpartition("/")[2]]
    page.wait(f"location.href.includes('{run.ledger.flow_run_id}')", "the page of its flow run")
    page.wait_for_text("coin_toss", "Completed")
