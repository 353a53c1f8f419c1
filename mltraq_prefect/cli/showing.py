"""The command that shows one experiment, or one of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table
from mltraq_prefect.cli.target import NAME, Target
from mltraq_prefect.errors import ExperimentNotFound, InvalidInput
from mltraq_prefect.reports.provenance.execution import Execution

if TYPE_CHECKING:
    from mltraq_prefect.storage import Record, Store

Rows = Iterator[tuple[str, str, Any]]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(app, "show", _show, "show digits", "show digits 1b4f0e98-51c7-5e3a-9d55-6e1c7a0a4c11")


def _show(
    target: Target,
    name: NAME,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Id of one of its runs, or how it begins."),
    ] = None,
) -> Table:
    """Show what is known of an experiment, or of one of its runs."""
    with target.store() as store:
        if run is None:
            return Table(("what", "name", "value"), list(_experiment(store, name)))
        record = store.read(name, ids=[_found(store, name, run)])
        return Table(("what", "name", "value"), list(_run(store, record)))


def _experiment(store: Store, name: str) -> Rows:
    listed = next((row for row in store.ls() if row["name"] == name), None)
    if listed is None:
        raise ExperimentNotFound(f"there is no experiment {name!r} in the database")
    tags = listed.pop("tags")
    for key, value in listed.items():
        yield "experiment", key, value
    for key, value in tags.items():
        yield "tag", key, value
    for column in store.columns(name):
        yield column.source, column.key, f"{column.kind.name}, column {column.name}"
    for facts in store.known_executions(listed["id_experiment"]):
        yield "execution", facts.id_execution, Execution(facts, {}).describe()


def _found(store: Store, name: str, run: str) -> str:
    """Return the id of the run that is meant.

    Raises:
        InvalidInput: There is none, or several begin so.
    """
    found = store.find_runs(name, run)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidInput(f"experiment {name!r} has no run whose id begins with {run!r}")
    raise InvalidInput(
        f"ids of several runs of experiment {name!r} begin with {run!r}, such as "
        f"{found[0]} and {found[1]}; give more of it"
    )


def _run(store: Store, record: Record) -> Rows:
    from mltraq_prefect.model.html import shown

    (run,) = record.runs
    yield "run", "id_run", run.id_run
    for part in ("params", "fields"):
        for key, value in dict(getattr(run, part)).items():
            yield part[:-1], key, shown(value)
    ledger = run.ledger
    for key in ("state", "attempts", "started_at", "duration_s", "error", "flow_run_id"):
        yield "run", key, getattr(ledger, key)
    used = {entry.id_execution for entry in ledger.executions.values() if entry.id_execution}
    known = {
        facts.id_execution: f", {Execution(facts, {}).code()}"
        for facts in store.known_executions(record.id_experiment, sorted(used))
    }
    for step, entry in ledger.executions.items():
        seconds = "" if entry.duration_s is None else f", {entry.duration_s:.3g} s"
        yield "step", step, f"{entry.state}{seconds}{known.get(entry.id_execution or '', '')}"
