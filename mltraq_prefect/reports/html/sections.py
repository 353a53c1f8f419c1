"""The parts of a page about an experiment, each as HTML of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model import html
from mltraq_prefect.reports.figures.bars import state_bar
from mltraq_prefect.reports.html.code import CodeLinks, code
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.study.curves import curves
from mltraq_prefect.reports.study.effects import (
    Drawn,
    board_marks,
    effects,
    heat_maps,
    history,
    parallel,
)
from mltraq_prefect.reports.study.failures import failures
from mltraq_prefect.reports.study.importance import importance
from mltraq_prefect.reports.study.leaderboard import Leaderboard, Row, leaderboards
from mltraq_prefect.reports.study.study import Study
from mltraq_prefect.reports.wording import duration
from mltraq_prefect.requirements import is_importable

NO_NUMBER = "There is no number to compare runs by."


class Links(CodeLinks, Protocol):
    """Addresses on a server; a file has none."""

    def section(self, key: str, **changed: Any) -> str:
        """Return the address of a part of this experiment, with what is chosen on this page."""
        ...

    def group(self, board: Leaderboard, row: Row) -> str:
        """Return the address of the runs of a configuration."""
        ...


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        key: What it is called in an address.
        title: What it is called for a person.
        build: Makes its HTML; empty if there is nothing to be shown.
    """

    key: str
    title: str
    build: Callable[[Study, Links | None], str]


def _leaderboard(study: Study, links: Links | None) -> str:
    boards = leaderboards(study)
    has_scipy = is_importable("scipy")
    dots = [board_marks(board) for board in boards]
    context: Mapping[str, Any] = {
        "boards": boards,
        "no_number": NO_NUMBER,
        "dots": dots,
        "links": links,
        "left": study.parts - len(boards),
        "read": boards[0].read if boards else 0,
        "all_runs": study.header.read,
    }
    return render("sections/leaderboard.html", has_scipy=has_scipy, **context)


def _figures(
    make: Callable[[Study], list[Drawn]], empty: str, *, of_sample: bool = True
) -> Callable[[Study, Any], str]:
    def build(study: Study, _: Links | None) -> str:
        sampled = len(study.sample) if of_sample and study.is_sampled else 0
        told = NO_NUMBER if of_sample and study.metric is None else empty
        context: Mapping[str, Any] = {"figures": make(study), "empty": told, "sampled": sampled}
        return render("sections/figures.html", runs=study.header.runs, **context)

    return build


def _failures(study: Study, links: Links | None) -> str:
    state = next((own.name for own in study.columns if own.is_state), None)
    address = links.section("runs", f=f"{state}:is:failed") if links and state else None
    return render("sections/failures.html", failures=failures(study), runs=address)


SECTIONS = (
    Section("leaderboard", "Leaderboard", _leaderboard),
    Section("effects", "Effects", _figures(effects, "No param varies.")),
    Section(
        "heat-map",
        "Heat map",
        _figures(
            heat_maps,
            "There are no two params that vary together and have few values, or are numbers.",
        ),
    ),
    Section("parallel", "Parallel coordinates", _figures(parallel, "No param varies.")),
    Section("importance", "Importance", _figures(importance, "There are too few runs.")),
    Section("curves", "Curves", _figures(curves, "No run has logged numbers.", of_sample=False)),
    Section("history", "History", _figures(history, "No param is a time.")),
    Section("code", "Code and environment", code),
    Section("failures", "Failures", _failures),
)
"""In the order in which they are on a page."""


def built(section: Section, study: Study, links: Links | None) -> str:
    """Return the HTML of a part; if what it reads is corrupt, it says so, and the others stand."""
    try:
        return section.build(study, links)
    except CorruptData as error:
        return f'<p class="bad">{html.text(str(error))}</p>'


def header_of(study: Study) -> dict[str, Any]:
    """Return what the head of a page is about."""
    header = study.header
    bar = state_bar({state: total.runs for state, total in header.states.items()})
    about = "About " if study.is_compute_estimated else ""
    return {
        "header": header,
        "compute": f"{about}{duration(study.compute_s)}" if study.compute_s else "",
        "bar": bar,
        "corrupt": study.results.corrupt,
    }
