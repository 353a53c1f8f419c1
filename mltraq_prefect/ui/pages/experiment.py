"""The pages of an experiment: one for each part."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.html.sections import SECTIONS, built, header_of
from mltraq_prefect.reports.study.curves import curve_group, curve_groups
from mltraq_prefect.reports.study.study import Study
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages.requests import query_of, study_of
from mltraq_prefect.ui.pages.runs import runs_table

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.reports.study.results import Header
    from mltraq_prefect.storage import Store

LIVE_SECONDS, MOST_SECONDS = 5, 60
"""A live page is read again after so many seconds: less often if nothing is written."""

QUIET_MINUTES = 10
"""If no run is pending and nothing was written for so long, it is not read again."""

TITLES = {"leaderboard": "Leaderboard", "runs": "Runs"} | {own.key: own.title for own in SECTIONS}


def page(store: Store, request: Request) -> str:
    """Return the page of a part of an experiment."""
    key = request.path_params["section"]
    if key not in TITLES:
        raise HTTPException(404)
    study = study_of(store, request)
    links = Links(request.path_params["table"], query_of(request))
    section = next((own for own in SECTIONS if own.key == key), None)
    html = runs_table(study, links) if section is None else built(section, study, links)
    live = "live" in links.query
    return render(
        "experiment.html",
        title=f"{study.header.name}: {TITLES[key]}",
        refresh=refresh_after(study.header, datetime.now(UTC)) if live else None,
        live=live,
        links=links,
        key=key,
        tabs=TITLES,
        html=html,
        **_chosen(study),
        **header_of(study),
    )


def refresh_after(header: Header, now: datetime) -> int | None:
    """Return after how many seconds a live page is read again; None if nothing more is expected."""
    written = header.updated_at or now
    age = (now - (written if written.tzinfo else written.replace(tzinfo=UTC))).total_seconds()
    if "pending" not in header.states and age > QUIET_MINUTES * 60:
        return None
    return int(min(max(age / 60, LIVE_SECONDS), MOST_SECONDS))


def _chosen(study: Study) -> dict[str, object]:
    curves_by = curve_group(study)
    return {
        "curve_groups": [own.name for own in curve_groups(study)],
        "curves_by": None if curves_by is None else curves_by.name,
        "metrics": [own.name for own in study.metrics],
        "metric": None if study.metric is None else study.metric.name,
        "lower": study.lower,
        "params": [own.name for own in study.params],
        "by": [own.name for own in study.grouping],
    }
