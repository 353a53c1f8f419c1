"""The command that says what differs between two experiments, runs or executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mltraq_prefect.cli.commands import JSON, add
from mltraq_prefect.cli.output import as_json, of_frame
from mltraq_prefect.cli.target import Target
from mltraq_prefect.errors import ExperimentNotFound, InvalidInput

if TYPE_CHECKING:
    from mltraq_prefect.experiment import Experiment
    from mltraq_prefect.model.run import Run
    from mltraq_prefect.reports.provenance.execution import Execution
    from mltraq_prefect.session import Session

_HELP = "An experiment; or one and the id of its run or execution, or how that begins: digits/1b4f."


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "diff", _diff, "diff monday tuesday", "diff digits/1b4f0e98 digits/9d55")


def _diff(
    target: Target,
    a: Annotated[str, typer.Argument(metavar="A", help=_HELP)],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    json: JSON = False,
) -> str:
    """Say what differs: params, kwargs, code, versions, environment."""
    from mltraq_prefect import diff

    with target.session() as session:
        found = diff(_meant(session, a), _meant(session, b))
        return as_json(of_frame(found.df())) if json else repr(found)


def _meant(session: Session, text: str) -> Experiment | Run | Execution:
    """Return the experiment, run or execution that is meant.

    Raises:
        ExperimentNotFound: There is no such experiment.
        InvalidInput: It has no such run or execution, or more than one.
    """
    name, slash, beginning = text.rpartition("/")
    try:
        return session.load(text, columns=[])
    except ExperimentNotFound:
        if not slash:
            raise
    experiment = session.load(name, columns=[])
    found: list[Run | str] = [
        run for id_run, run in experiment.runs.items() if id_run.startswith(beginning)
    ]
    found += [own for own in experiment.executions.index if own.startswith(beginning)]
    if len(found) != 1:
        number = f"{len(found):,} runs and executions" if found else "no run or execution"
        raise InvalidInput(f"experiment {name!r} has {number} whose id begins with {beginning!r}")
    return experiment.execution(found[0]) if isinstance(found[0], str) else found[0]
