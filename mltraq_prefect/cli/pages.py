"""Commands that show results: as pages of a server, or as one file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.target import Target
from mltraq_prefect.environment import UI_PASSWORD

METRIC = Annotated[
    str | None, typer.Option(metavar="FIELD", help="The number that decides; a likely one if none.")
]
LOWER = Annotated[
    bool | None,
    typer.Option(
        "--lower/--higher", help="Which values of it are better; by its name if left out."
    ),
]
BY = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PARAM", help="Param whose values make the groups; may be given several times."
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "ui", _ui, "ui --database sqlite:///mltraq.db", "ui --port 8080")
    add(
        app,
        "report",
        _report,
        "report digits",
        "report digits --output shared/digits.html --metric loss",
    )


def _ui(
    target: Target,
    host: Annotated[
        str,
        typer.Option(metavar="HOST", help="Address to listen on; other machines need a password."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", help="Port; 0 takes a free one.")] = 4242,
) -> str:
    """Show experiments in a browser, until Ctrl-C. Nothing is changed.

    With a HOST that other machines reach, browsers have to give a password: that of the environment
    variable MLTRAQ_UI_PASSWORD, or one that is asked for.
    """
    from mltraq_prefect.ui.serve import is_loopback, listening, serve

    password = os.environ.get(UI_PASSWORD)
    if not is_loopback(host) and not password and sys.stdin.isatty():
        password = typer.prompt("Password for the pages", hide_input=True, err=True)
    with target.store() as store, listening(host, port, password) as (socket, url):
        typer.echo(f"Results pages at {url} (Ctrl-C ends)", err=True)
        serve(store, socket, host=host, password=password)
    return "ended"


def _report(
    target: Target,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the experiment.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file; NAME.html if none is given."
        ),
    ] = None,
    metric: METRIC = None,
    lower: LOWER = None,
    by: BY = None,
) -> str:
    """Write an experiment's results into one HTML file, which opens anywhere and prints."""
    from mltraq_prefect.reports.html.report import write_report
    from mltraq_prefect.reports.study.study import Choice, Study

    path = Path(output if output is not None else f"{name.replace('/', '_')}.html")
    with target.store() as store:
        study = Study(store.results(name), Choice(metric, lower, tuple(by) if by else None))
        write_report(study, path)
    return f"wrote {path}"
