"""The pictures of the documentation: ``python -m tests.ui.pictures``."""

import contextlib
import tempfile
from pathlib import Path

import mltraq_prefect as mltraq
from tests import docs_programs, tutorial
from tests.studies import add_families, train
from tests.ui import browser
from tests.ui.test_results_pages import client_of


def main():
    """Make all of them anew."""
    draw_tutorial()
    show_leaderboard()


def draw_tutorial():
    """Execute the tutorial, and keep figures of its reports."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for _ in docs_programs.executed(tutorial.PAGE):
            pass
        for name, svg in tutorial.drawn(folder).items():
            (tutorial.PICTURES / name).write_text(svg)


def show_leaderboard():
    """Make the picture of a leaderboard as a browser shows it."""
    browser.SCREENSHOTS = tutorial.PICTURES
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.db")
        with mltraq.create_session(f"sqlite:///{file}") as session:
            experiment = add_families(session.add_experiment("families"))
            experiment.execute(train, backend="local", on_error="keep")
            experiment.persist(on_error="keep")
        with client_of(file) as client, browser.opened(Path(folder, "profile")) as page:
            size = {"width": 1100, "height": 760, "deviceScaleFactor": 1, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            scheme = {"name": "prefers-color-scheme", "value": "light"}
            page.call("Emulation.setEmulatedMedia", features=[scheme])
            page.call("Page.navigate", url=f"{client.base_url}experiments/e_families")
            page.wait_for_text("accuracy")
            page.screenshot("leaderboard")


if __name__ == "__main__":
    main()
