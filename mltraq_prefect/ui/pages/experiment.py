"""The pages of an experiment: one for each part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.html.sections import SECTIONS, built, header_of
from mltraq_prefect.reports.study.study import Study
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages.requests import query_of, study_of
from mltraq_prefect.ui.pages.runs import runs_table

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.storage import Store

LIVE_SECONDS = 5
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
        refresh=LIVE_SECONDS if live else None,
        live=live,
        links=links,
        key=key,
        tabs=TITLES,
        html=html,
        **_chosen(study),
        **header_of(study),
    )


def _chosen(study: Study) -> dict[str, object]:
    return {
        "metrics": [own.name for own in study.metrics],
        "metric": None if study.metric is None else study.metric.name,
        "lower": study.lower,
        "params": [own.name for own in study.params],
        "by": [own.name for own in study.grouping],
    }
