"""What a notebook shows of sessions, experiments and runs, in a real browser."""

import threading

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect import Run, Runs
from tests.ui.browser import opened

HOSTILE = "</td><script>document.title = 'x'</script>\0\ud800<b>&"
SCREEN = 1000
"""Pixels that a page may be high."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def experiment(tmp_path):
    session = mltraq.create_session(f"sqlite:///{tmp_path}/notebook.db")
    for number in range(20):
        experiment = session.add_experiment(f"<i>{number}</i>", note=HOSTILE, weights=np.eye(3))
        experiment.add_runs(lr=[0.1, 0.01, 0.001], **{f"<u>{n}": [n, HOSTILE] for n in range(4)})
        for index, run in enumerate(experiment.runs.values()):
            run.fields.update({f"metric/{n}": index * n / 7 for n in range(11)})
            run.fields.predictions = np.arange(5000.0)
            run.fields.table = pd.DataFrame({"a": [1, 2]})
            run.fields[HOSTILE.strip("\0\ud800<b>&") + "k" * 500] = HOSTILE * 50
            run.ledger.state = ("completed", "failed", "pending")[index % 3]
        experiment.persist()
    return experiment


@pytest.mark.parametrize(
    ("theme", "ground", "ink"), [("light", "#fff", "#111"), ("dark", "#111", "#eee")]
)
def test_pages_fit_on_a_screen_and_show_text_as_text(
    experiment, page, tmp_path, theme, ground, ink
):
    shown = {
        "session": mltraq.create_session(f"sqlite:///{tmp_path}/notebook.db"),
        "experiment": experiment,
        "runs": experiment.runs,
        "run": experiment.runs.first(),
    }
    for name, own in shown.items():
        html = own._repr_html_()
        assert "<script" not in html
        file = tmp_path / f"{name}.html"
        style = f"margin: 0; background: {ground}; color: {ink}; font-family: sans-serif"
        file.write_text(f'<meta charset="utf-8"><body style="{style}">{html}')
        page.call("Page.navigate", url=file.as_uri())
        page.wait("document.querySelector('.mltraq-short .bar span') !== null", name)
        assert page.evaluate("document.querySelector('.mltraq-short').offsetHeight") < SCREEN
        assert (
            page.evaluate("document.querySelectorAll('.mltraq-short :is(i, u, script)').length")
            == 0
        )
        assert page.evaluate("document.title") != "x"
        page.screenshot(f"notebook-{name}-{theme}")
    text = page.text()
    assert "ndarray 5000 float64" in text
    assert "DataFrame 2 x 1" in text
    assert "</td><script>" in text


class Unread:
    parts = frozenset(("fields",))
    reads = True

    def __init__(self):
        self.lock = threading.Lock()

    def make(self, part, run):
        raise AssertionError("it was read")


def test_nothing_is_read_to_be_shown():
    run = Run(params={"x": 1}, fields={"y": 2})
    run.defer(Unread())
    assert "database" in run._repr_html_()
    assert "..." in Runs([run, Run(params={"x": 2}, fields={"y": 3})])._repr_html_()


def test_what_cannot_be_shown_does_no_harm():
    class Shy:
        def __repr__(self):
            raise ValueError("no")

        def __getattr__(self, name):
            raise RuntimeError(name)

    run = Run(fields={"shy": Shy(), "none": None, "bytes": b"ab", "list": [*range(1000)]})
    page = run._repr_html_()
    assert all(text in page for text in ("Shy", "2 bytes", "[0, 1, 2"))
    assert Runs()._repr_html_()
