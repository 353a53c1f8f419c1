"""The web application: which page an address stands for, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mltraq_prefect.errors import (
    CorruptData,
    ExperimentNotFound,
    InvalidInput,
    MltraqError,
    StorageUnavailable,
)
from mltraq_prefect.reports.html.render import render, style
from mltraq_prefect.ui.guard import HEADERS, Guard
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages import (
    comparison,
    experiment,
    experiments,
    file,
    run,
    run_comparison,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from mltraq_prefect.storage import Store

RELOAD_SECONDS = 5
"""A page that the database does not answer is asked for again after so many seconds."""

Page = Callable[["Store", "Request"], str]


def make_app(
    store: Store, *, password: str | None = None, hosts: list[str] | None = None
) -> Starlette:
    """Return the application.

    Args:
        store: The database.
        password: What a browser has to give, with any user name; None lets everybody in.
        hosts: The names by which browsers may call the server; None means any.
    """
    routes = [
        Route("/", _answer(store, experiments.page)),
        Route("/style.css", _style),
        Route("/compare", _answer(store, comparison.page)),
        Route("/compare/runs", _answer(store, run_comparison.page)),
        Route("/experiments/{table}", _to_leaderboard),
        Route("/experiments/{table}/run/{id_run}", _answer(store, run.page)),
        Route("/experiments/{table}/run/{id_run}/file", _give(store, file.download)),
        Route("/experiments/{table}/{section}", _answer(store, experiment.page)),
    ]
    guard = Middleware(Guard, password=password, hosts=hosts)
    return Starlette(
        routes=routes,
        middleware=[guard],
        exception_handlers={
            MltraqError: _failed,
            HTTPException: _not_there,
            Exception: _unexpected,
        },
    )


def _answer(store: Store, page: Page) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        store.open(create=False)  # a file that has gone is no empty database
        return HTMLResponse(page(store, request))

    return answer


def _give(
    store: Store, download: Callable[[Store, Request], Response]
) -> Callable[[Request], Response]:
    def give(request: Request) -> Response:
        return download(store, request)

    return give


def _style(_: Request) -> Response:
    return PlainTextResponse(style(), media_type="text/css")


def _to_leaderboard(request: Request) -> Response:
    table = request.path_params["table"]
    return RedirectResponse(f"{Links().experiment(table)}/leaderboard")


def _failed(_: Request, error: Exception) -> Response:
    """Return what a person is told of an error: one sentence, and when to try again."""
    kinds = ((ExperimentNotFound, 404), (InvalidInput, 400), (StorageUnavailable, 503))
    status = next((code for kind, code in kinds if isinstance(error, kind)), 500)
    title = "Something stored is corrupt" if isinstance(error, CorruptData) else _TITLES[status]
    refresh = RELOAD_SECONDS if status == 503 else None
    return _told(status, title, str(error), refresh)


_TITLES = {
    400: "This cannot be shown",
    404: "Not there",
    500: "The database cannot answer",
    503: "The database is not there; this page asks again by itself",
}


def _not_there(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _told(
        status, _TITLES.get(status, "This cannot be shown"), "There is no such page.", None
    )


def _unexpected(_: Request, error: Exception) -> Response:
    """Return what a person is told of a fault of ours; the server's log has where it is."""
    message = f"{type(error).__name__}: the terminal in which the server was started says more."
    answer = _told(500, "This page has a fault", message, None)
    answer.headers.update(HEADERS)  # it comes from outside of the guard
    return answer


def _told(status: int, title: str, message: str, refresh: int | None) -> Response:
    context = {"title": title, "message": message, "refresh": refresh, "links": Links()}
    return HTMLResponse(render("error.html", **context), status_code=status)
