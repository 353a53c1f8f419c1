"""Commands that bring experiments into other forms, and those of other trackers here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table
from mltraq_prefect.cli.progress import progress
from mltraq_prefect.cli.target import Target


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(
        app,
        "export",
        _export,
        "export digits digits.parquet",
        "export digits digits.csv --column accuracy --column loss",
        "export digits curves.parquet --series",
        "export --all folder",
    )
    add(
        app,
        "import",
        _import,
        "import mlflow mlflow.db",
        "import optuna postgresql+psycopg://ada@host/optuna --prefix optuna/",
    )


def _export(
    target: Target,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the experiment.")
    ] = None,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH",
            help="The file; its suffix says the format: .parquet, .arrow, .feather, .csv, .jsonl, "
            ".ndjson, .xlsx. With --all the folder.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="A field, or logged key, to write; all if none. Several times."
        ),
    ] = None,
    series: Annotated[
        bool, typer.Option("--series", help="Write what the runs have logged, a row each.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Write all experiments into a folder; NAME is left out.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
) -> str:
    """Write the runs of an experiment, or their series, to a file that other programs read."""
    if everything and path is None:
        name, path = None, name
    if path is None or (name is None) != everything:
        raise typer.BadParameter("give NAME and PATH, or --all and the path of a folder")
    if everything and (series or column):
        raise typer.BadParameter("--all writes everything: leave out --series and --column")
    with target.store() as store, progress("export") as advance:
        from mltraq_prefect import tabular

        if name is None:
            tabular.export_all(store, Path(path), overwrite=overwrite, advance=advance)
        else:
            tabular.export_experiment(
                store,
                name,
                Path(path),
                columns=column or None,
                series=series,
                overwrite=overwrite,
                advance=advance,
            )
    return f"wrote {Path(path)}"


def _import(
    target: Target,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="mltraq, mlflow or optuna.")],
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="URL of its database, or path of its file."),
    ],
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="What names of experiments begin with here.")
    ] = "",
) -> Table:
    """Import the experiments of another tracker from its database, which is not changed.

    What was imported before is updated. The other tracker need not be installed; nothing is
    unpickled. What cannot be carried over is told on stderr.
    """
    from mltraq_prefect.exchange import import_from

    with target.session(create=True) as session, progress(f"import from {tool}") as advance:
        report = import_from(tool, source, session, prefix=prefix, advance=advance)
    for lost in report.not_carried:
        typer.echo(f"not carried over: {lost.number:,} x {lost.what} ({lost.why})", err=True)
    return Table(("experiment", "found", "before", "now"), report.experiments)
