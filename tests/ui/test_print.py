"""A report on paper: nothing scrolls there, so nothing may be beyond the edge."""

import mltraq_prefect as mltraq
from tests.studies import add_families, train
from tests.ui.browser import opened

BEYOND = """[...document.querySelectorAll('table, pre, svg')].filter(
    own => own.getBoundingClientRect().right > document.documentElement.clientWidth
).map(own => own.outerHTML.slice(0, 80)).join()"""


def test_nothing_is_cut_at_the_edge_of_paper(tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/study.db") as session:
        experiment = add_families(session.add_experiment("families"))
        experiment.execute(train, backend="local", on_error="keep").persist(on_error="keep")
        file = experiment.report(tmp_path / "families.html")
    with opened(tmp_path / "profile") as page:
        size = {"width": 718, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)  # A4 within Chromium's margins
        page.call("Emulation.setEmulatedMedia", media="print")
        page.call("Page.navigate", url=file.as_uri())
        page.wait_for_text("Leaderboard", "Made by mltraq_prefect")
        assert page.evaluate(BEYOND) == ""
        page.screenshot("report-print")
