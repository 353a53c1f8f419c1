"""The command that shows one experiment, or one of its runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from mltraq_prefect.cli.commands import add
from mltraq_prefect.cli.output import Table
from mltraq_prefect.cli.target import NAME, Target
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.reports.provenance.execution import Execution

if TYPE_CHECKING:
    from mltraq_prefect.model.files import File
    from mltraq_prefect.storage import Record, Store

Rows = Iterator[tuple[str, str, Any]]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    add(
        app,
        "files",
        _files,
        "files digits 1b4f0e98",
        "files digits 1b4f0e98 model.joblib --output best.joblib",
    )
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


def _files(
    target: Target,
    name: NAME,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or how it begins.")],
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Name of the file that is fetched.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Where to; else here, by its name."),
    ] = None,
) -> Table:
    """List the files of a run, or fetch one of them, verified; a file that is there is kept."""
    with target.store() as store:
        (found,) = store.read(name, columns=[], ids=[_found(store, name, run)]).runs
        if file is None and output is not None:
            raise typer.BadParameter("--output is of no use without FILE")
        if file is not None and file not in found.files:
            known = ", ".join(map(repr, found.files)) or "none"
            raise InvalidInput(f"run {found.describe()} has no file {file!r}; it has {known}")
        chosen = found.files.values() if file is None else [found.files[file]]
        rows = [[own.name, own.size, own.sha256] for own in chosen]
        if file is not None:
            _fetch(found.files[file], output)
    return Table(("file", "bytes", "sha256"), rows)


def _fetch(file: File, output: Path | None) -> None:
    path = Path(PurePosixPath(file.name).name) if output is None else output
    path = path / PurePosixPath(file.name).name if path.is_dir() else path
    try:
        with file.open() as source:
            _copy(source, path)
    except FileExistsError:
        raise InvalidInput(f"{path} is there already; give another --output") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}") from None


def _copy(source: IO[bytes], path: Path) -> None:
    target = path.open("xb")
    try:
        with target:
            shutil.copyfileobj(source, target)
    except BaseException:  # half of a file looks like a whole one; on Windows it is closed first
        path.unlink()
        raise


def _experiment(store: Store, name: str) -> Rows:
    store.require(name)
    (listed,) = (row for row in store.ls() if row["name"] == name)
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
    for file in run.files.values():
        yield "file", file.name, f"{file.size:,} bytes, sha256 {file.sha256}"
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
