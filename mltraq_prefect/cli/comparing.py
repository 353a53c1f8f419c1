"""The command that compares groups of runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table, of_frame
from mltraq_prefect.cli.target import Target

if TYPE_CHECKING:
    from mltraq_prefect.experiment import Experiment

_SHOWN = ("group", "baseline", "value", "baseline_value", "effect", "ci_low", "ci_high", "p_holm")


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(
        app,
        "compare",
        _compare,
        "compare accuracy --experiment digits --by model --pair-on fold",
        "compare accuracy -e monday -e tuesday --nan-policy omit",
    )


def _compare(
    target: Target,
    metric: Annotated[
        str, typer.Argument(metavar="METRIC", help="Field of numbers to compare in.")
    ],
    experiment: Annotated[
        list[str],
        typer.Option(
            "--experiment", "-e", metavar="NAME", help="An experiment; several are compared."
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Param or field that makes the groups. Several times."),
    ] = None,
    pair_on: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="What runs of two groups have in common, as a fold."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="VALUE", help="The group to compare with; as JSON or else as text."),
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="t|wilcoxon", help="The test; t if none is given.")
    ] = None,
    confidence: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the intervals, between 0 and 1.")
    ] = 0.95,
    nan_policy: Annotated[
        str, typer.Option(metavar="raise|omit", help="What to do about runs without the metric.")
    ] = "raise",
) -> Table:
    """Compare groups of runs: effect, confidence interval, p-value."""
    from mltraq_prefect import compare

    checked: dict[str, Any] = {"test": test, "nan_policy": nan_policy}  # by compare
    with target.session() as session:
        data: list[Experiment] = [session.load(name) for name in experiment]
        frame = compare(
            data if len(data) > 1 else data[0],
            metric,
            by or None,
            pair_on=pair_on or None,
            baseline=_value(baseline),
            confidence=confidence,
            **checked,
        )
    table = of_frame(frame)
    return Table(table.columns, table.rows, shown=_SHOWN)


def _value(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
