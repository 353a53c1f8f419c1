"""Importing the database of another tracker, so that doing it twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from mltraq_prefect import codecs
from mltraq_prefect.errors import ExperimentExists, InvalidInput, InvalidName, UnsupportedType
from mltraq_prefect.exchange import mlflow, mltraq, optuna
from mltraq_prefect.exchange.foreign import Foreign, opened
from mltraq_prefect.exchange.found import Source
from mltraq_prefect.exchange.report import Imported, ImportReport
from mltraq_prefect.exchange.series import drop_stored
from mltraq_prefect.model.advance import Advance, unseen
from mltraq_prefect.model.names import check_name
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.sizes import MOST_BYTES, RUNS_AT_ONCE, size_of
from mltraq_prefect.session import Session

ORIGIN = "imported_from"
"""The field of an experiment that says where it is from."""

LOOKED_UP = 500
"""Runs whose series are compared with those that are stored."""

_PLAIN = (str, int, float, bool, type(None))


class Importer(Protocol):
    """What the module of a tracker offers.

    Attributes:
        NAME: Name of the tracker, for people.
    """

    NAME: str

    def recognises(self, database: Foreign) -> bool:
        """Return whether a database is of this tracker."""

    def count(self, database: Foreign) -> int:
        """Return how many runs it has, about."""

    def experiments(self, database: Foreign, report: ImportReport) -> Iterator[Source]:
        """Yield its experiments; note in the report what is not carried over."""


TOOLS: Mapping[str, Importer] = MappingProxyType(
    {"mltraq": mltraq, "mlflow": mlflow, "optuna": optuna}
)


def import_from(
    tool: str,
    source: str,
    session: Session,
    *,
    prefix: str = "",
    advance: Advance = unseen,
) -> ImportReport:
    """Import all experiments of another tracker.

    An experiment is written in one transaction, or in several if it has more than 10,000 runs, or
    32 MiB. What was imported before is updated, so that a second import goes on after a failure.

    Args:
        tool: ``mltraq``, ``mlflow`` or ``optuna``.
        source: URL of its database, or path of a SQLite file; it is not changed.
        session: Where to write.
        prefix: What the names of experiments begin with here.
        advance: Is called with the number of runs that were read, and of all that there are.

    Returns:
        Counts before and after, and what could not be carried over.

    Raises:
        InvalidInput: There is no such tool or file, or the database is of none, or another one.
        StorageUnavailable: The database cannot be reached or read.
        ExperimentExists: An experiment of another origin has one of the names; nothing was written.
    """
    if tool not in TOOLS:
        raise InvalidInput(f"nothing imports from {tool!r}; known are {', '.join(TOOLS)}")
    with opened(source) as database:
        if not TOOLS[tool].recognises(database):
            raise InvalidInput(_unknown(tool, database))
        total = TOOLS[tool].count(database)
        report = ImportReport(tool, database.url, total=total, advance=advance)
        listed = list(_named(TOOLS[tool].experiments(database, report), report))
        _refuse_taken(session, listed, prefix)
        for own in listed:
            name = prefix + own.name
            before, count = _count(session, name), 0
            found = own.read()
            for runs in _portions(found.runs):
                if before:
                    _drop_stored(session, name, runs)
                _write(session, name, own.origin, found.fields, runs, report)
                count += len(runs)
            report.experiments.append(Imported(name, count, before, _count(session, name)))
    return report


def _portions(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """Yield as many runs as fit into memory, in one list at least."""
    held: list[Run] = []
    size, is_first = 0, True
    for run in runs:
        held.append(run)
        size += size_of(run)
        if len(held) >= RUNS_AT_ONCE or size >= MOST_BYTES:
            yield held
            held, size, is_first = [], 0, False
    if held or is_first:
        yield held


def _drop_stored(session: Session, name: str, runs: Iterable[Run]) -> None:
    """Drop series that are stored already."""
    logged = [run for run in runs if run.row_changes()]
    for start in range(0, len(logged), LOOKED_UP):
        some = logged[start : start + LOOKED_UP]
        ids = {f"run_{number}": run.id_run for number, run in enumerate(some)}
        where = f"id_run IN ({', '.join(map(':{}'.format, ids))})"
        drop_stored(some, session.load(name, columns=[], where=where, params=ids).runs)


def _unknown(tool: str, database: Foreign) -> str:
    others = [name for name, other in TOOLS.items() if other.recognises(database)]
    if others:
        return f"{database.url} is a database of {TOOLS[others[0]].NAME}: import it as {others[0]}"
    if database.has("experiment_format"):
        return (
            f"{database.url} is a database of mltraq_prefect: open it with create_session, and "
            "copy an experiment with session.persist"
        )
    return f"{database.url} is not a database of {TOOLS[tool].NAME}, nor of another known tracker"


def _named(sources: Iterable[Source], report: ImportReport) -> Iterator[Source]:
    for own in sources:
        try:
            check_name(own.name, "experiment name")
        except InvalidName as error:
            report.lose("an experiment", str(error))
        else:
            yield own


def _refuse_taken(session: Session, listed: Iterable[Source], prefix: str) -> None:
    """Refuse to mix experiments with others of the same name."""
    stored = set(session.ls()["name"])
    for own in listed:
        name = prefix + own.name
        if name in stored and session.load(name, columns=[]).fields.get(ORIGIN) != own.origin:
            tool = own.origin.partition(":")[0]
            raise ExperimentExists(
                f"there is an experiment {name!r} that is none imported from {tool}; nothing was "
                f"imported: give the names of imported ones a prefix, such as '{tool}/'"
            )


def _count(session: Session, name: str) -> int:
    listed = session.ls()
    return int(listed.loc[listed["name"] == name, "runs"].sum())


def _write(
    session: Session,
    name: str,
    origin: str,
    fields: dict[str, Any],
    runs: list[Run],
    report: ImportReport,
) -> None:
    _leave_out(fields, "a field of an experiment", report)
    for run in runs:
        _leave_out(run.fields, "a field of a run", report)
        _leave_out(run.params, "a param of a run", report)
    experiment = session.add_experiment(name)
    experiment.fields |= fields | {ORIGIN: origin}
    experiment.runs.add(*runs)
    experiment.persist("merge", report=False)


def _leave_out(values: dict[str, Any], what: str, report: ImportReport) -> None:
    """Leave out what the tables cannot keep."""
    for key in list(values):
        try:
            check_name(key, "its name")
            if type(values[key]) not in _PLAIN:
                codecs.check(values[key])
        except (InvalidName, UnsupportedType) as error:
            report.lose(what, error.reason if isinstance(error, UnsupportedType) else str(error))
            dict.__delitem__(values, key)
