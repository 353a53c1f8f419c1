"""Programs of the documentation run as they are written, and print what it says."""

import logging

import pytest

from tests import tutorial
from tests.docs_programs import executed, pages


@pytest.fixture
def folder(tmp_path, monkeypatch, caplog):
    """A new folder, the current one."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.CRITICAL, "mltraq_prefect")
    caplog.set_level(logging.getLogger("prefect").level, "prefect")  # pages may change it
    return tmp_path


def check(page, names=None):
    """Execute a page, and compare what it prints with what it says."""
    for line, told, printed in executed(page, names):
        if told is not None:
            assert printed.rstrip() == told.rstrip(), f"line {line} of {page.name}"


@pytest.mark.parametrize(
    "page", [page for page in pages() if page != tutorial.PAGE], ids=lambda page: page.stem
)
@pytest.mark.usefixtures("folder")
def test_the_program_of_a_page(page):
    check(page)


def test_the_tutorial_draws_the_pictures_that_it_shows(folder):
    names = {}
    check(tutorial.PAGE, names)
    new = tutorial.drawn(folder)
    assert tutorial.shown() == list(new)
    with names["mltraq"].create_session("sqlite:///study.db") as session:
        runs = session.frame("digits")
        curves = session.query(
            "SELECT v.alpha, s.step, avg(s.accuracy) AS accuracy FROM s_digits AS s"
            " JOIN v_digits AS v ON v.id_run = s.id_run GROUP BY v.alpha, s.step ORDER BY s.step"
        )
    ranked = runs.groupby(["alpha", "rate"])["accuracy"].mean().sort_values(ascending=False)
    assert list(ranked.index[:2]) == [(0.0001, 0.1), (0.01, 0.1)]  # as the page says
    tested = names["tested"]
    assert names["found"]["ci_high"].item() < 0  # the decision

    # Values in pictures that are kept may be those of other versions of the libraries.
    kept = {name: (tutorial.PICTURES / name).read_text() for name in new}
    for pictures, tolerance in ((new, 0.002), (kept, 0.05)):
        assert all(len(svg) < 60_000 for svg in pictures.values())
        curve, effect = map(tutorial.Figure, pictures.values())
        assert (curve.names, effect.names) == (["step", "accuracy"], ["rate", "test_accuracy"])
        assert effect.columns() == {
            f"{rate:g}": measured(own, tolerance)
            for rate, own in tested.groupby("rate")["test_accuracy"]
        }
        assert curve.lines() == {
            f"alpha={alpha:g}": pytest.approx(own.tolist(), abs=tolerance)
            for alpha, own in curves.groupby("alpha")["accuracy"]
        }


def measured(values, tolerance):
    """Return about which mean and standard error values have."""
    return pytest.approx((values.mean(), values.sem()), abs=tolerance)
