"""Whether everything that is stored can be read, and belongs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mltraq_prefect.errors import CorruptData, ExperimentNotFound, FieldNotFound, StoreError
from mltraq_prefect.model.advance import Advance
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage.store import Store

RUNS_AT_ONCE = 500
"""Runs that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with what is stored.

    Attributes:
        experiment: Name of the experiment; empty if it is of none.
        run: Id of the run; empty if it is of none, or of several.
        field: Key of the field; empty if it is of none.
        problem: What is wrong, and what to do.
        is_mended: Whether it was mended.
    """

    experiment: str
    run: str
    field: str
    problem: str
    is_mended: bool = False


def verify(store: Store, name: str | None, *, repair: bool, advance: Advance) -> Iterator[Problem]:
    """Read every cell, some runs at a time, and yield what is wrong.

    Args:
        store: The database.
        name: Name of an experiment; all if None.
        repair: Whether wrong counts and standings are made anew.
        advance: Gets how many runs are read, of how many.
    """
    if name is not None:
        store.require(name)
    for own in store.names() if name is None else [name]:
        try:
            yield from _structure(store, own, repair=repair)
            yield from _values(store, own, advance)
            yield from _files(store, own)
        except CorruptData as error:
            yield _problem(error, own)
        except ExperimentNotFound:
            continue  # deleted meanwhile
    if name is None:
        for finding in store.findings(None):
            yield Problem("", finding.run, "", finding.problem)


def _problem(error: CorruptData, name: str, run: str = "", field: str = "") -> Problem:
    return Problem(name, run or error.run or "", error.field or field, error.reason)


def _structure(store: Store, name: str, *, repair: bool) -> Iterator[Problem]:
    findings = store.findings(name)
    is_mended = repair and any(own.is_count for own in findings) and store.repair(name)
    for own in findings:
        yield Problem(name, own.run, "", own.problem, is_mended and own.is_count)


def _values(store: Store, name: str, advance: Advance) -> Iterator[Problem]:
    """Yield which values cannot be read."""
    total = sum(row["runs"] for row in _listed(store, name))
    done, place = 0, -1
    while runs := store.listed(name, place, RUNS_AT_ONCE):
        ids = [id_run for _, id_run, has_row in runs if has_row]
        if ids and _fails(store, name, ids):
            for id_run in ids:
                yield from _of_run(store, name, id_run)
        place, done = runs[-1][0], done + len(runs)
        advance(done, max(done, total))


def _files(store: Store, name: str) -> Iterator[Problem]:
    """Yield which files cannot be read; each content is read once."""
    place, read = -1, set[str]()
    while runs := store.listed(name, place, RUNS_AT_ONCE):
        for id_run, listed in store.files(name, None, [own for _, own, _ in runs]).items():
            for path, entry in listed.items():
                if entry.sha256 in read or entry.pieces is None:
                    continue
                try:
                    for _ in entry.pieces():
                        pass
                    read.add(entry.sha256)
                except CorruptData as error:
                    yield Problem(name, id_run, f"files[{path!r}]", error.reason)
                except StoreError as error:
                    yield Problem(name, id_run, f"files[{path!r}]", str(error))
        place = runs[-1][0]


def _listed(store: Store, name: str) -> list[dict[str, int]]:
    try:
        return [row for row in store.ls() if row["name"] == name]
    except CorruptData:  # of another experiment
        return []


def _fails(store: Store, name: str, ids: Sequence[str], *columns: str) -> CorruptData | None:
    """Read runs, all of their values or those of some fields; return what is wrong."""
    try:
        record = store.read(name, ids=ids, columns=columns or None)
        for run in record.runs:
            _use(run, has_series=record.has_series)
    except CorruptData as error:
        return error
    return None


def _use(run: Run, *, has_series: bool) -> None:
    """Make all values of a run."""
    list(dict(run.params).values())
    list(dict(run.fields).values())
    _ = run.ledger.executions
    if has_series:
        _ = run.series


def _of_run(store: Store, name: str, id_run: str) -> Iterator[Problem]:
    """Yield which values of a run cannot be read."""
    error = _fails(store, name, [id_run])
    if error is None:
        return
    if (of_ledger := _of_fields(store, name, id_run)) is not None:
        yield _problem(of_ledger, name, id_run)
        return
    found = [
        _problem(own, name, id_run, key)
        for key in store.keys(name)
        if (own := _of_fields(store, name, id_run, key)) is not None
    ]
    yield from dict.fromkeys(found or [_problem(error, name, id_run)])


def _of_fields(store: Store, name: str, id_run: str, *keys: str) -> CorruptData | None:
    try:
        (run,) = store.read(name, ids=[id_run], columns=keys).runs
        dict(run.fields)
    except CorruptData as error:
        return error
    except (ValueError, FieldNotFound):  # deleted meanwhile
        return None
    return None
