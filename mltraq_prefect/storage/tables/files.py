"""Rows of `experiment_files`, and of `experiment_file_pieces`, which has their contents.

A content is stored once in an experiment, whatever runs and names it has, and goes with the last
file that has it. It is either in pieces in the database, or an object in a location of files; see
`storage/tables/uploads.py`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from xxhash import xxh3_128_hexdigest

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model.spool import PIECE_BYTES
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import uploads
from mltraq_prefect.storage.values.kinds import BINARY, INT, KEY, TEXT, Kind

FILES: dict[str, Kind] = {
    "id_experiment": KEY,
    "id_run": KEY,
    "path_key": KEY,
    "path": TEXT,
    "size": INT,
    "sha256": KEY,
    "place": TEXT,
}
FILES_KEY = ("id_experiment", "id_run", "path_key")

CONTENT_INDEX = "experiment_files_content"
CONTENT_COLUMNS = ("id_experiment", "sha256")
"""Leads to the files that have a content."""

PIECES: dict[str, Kind] = {
    "id_experiment": KEY,
    "sha256": KEY,
    "number": INT,
    "data": BINARY,
}
PIECES_KEY = ("id_experiment", "sha256", "number")

FILE_BYTES = 256 << 20
"""Most bytes of a file that is kept in the database: a transaction writes all of it."""

CHUNK = 500
"""Runs, or contents, that one statement looks up."""


MEASURED = 500
"""Files whose sizes are added; more are estimated by these."""


class StoredFile(NamedTuple):
    """A row of a file.

    Attributes:
        id_run: Its run.
        path: Its name.
        size: Its size in bytes.
        sha256: SHA-256 of its content, in hexadecimal digits.
        place: Where its content is; None if that is in the database.
    """

    id_run: str
    path: str
    size: int
    sha256: str
    place: str | None


def path_key(path: str) -> str:
    """Return what stands for the name of a file in the primary key."""
    return xxh3_128_hexdigest(path.encode())


def read(transaction: Transaction, id_experiment: str, ids: Sequence[str]) -> list[StoredFile]:
    """Return the files of runs."""
    found = []
    for chunk in _chunks(ids):
        sql = (
            "SELECT id_run, path, size, sha256, place FROM experiment_files "
            f"WHERE id_experiment = ? AND id_run IN ({_marks(chunk)})"
        )
        rows = transaction.rows(sql, (id_experiment, *chunk))
        found += [StoredFile(*row) for row in rows]
    return found


def piece(transaction: Transaction, id_experiment: str, sha256: str, number: int) -> bytes | None:
    """Return a piece of a content; None if it is not there."""
    sql = (
        "SELECT data FROM experiment_file_pieces "
        "WHERE id_experiment = ? AND sha256 = ? AND number = ?"
    )
    rows = transaction.rows(sql, (id_experiment, sha256, number))
    return bytes(rows[0][0]) if rows else None


def places(transaction: Transaction, id_experiment: str, digests: Iterable[str]) -> dict[str, str]:
    """Return where contents of an experiment are that are not in the database, by digest."""
    found: dict[str, str] = {}
    for chunk in _chunks(list(digests)):
        sql = (
            "SELECT sha256, min(place) FROM experiment_files WHERE id_experiment = ? AND "
            f"sha256 IN ({_marks(chunk)}) AND place IS NOT NULL GROUP BY sha256"
        )
        found |= dict(transaction.rows(sql, (id_experiment, *chunk)))
    return found


def present(transaction: Transaction, id_experiment: str, digests: Iterable[str]) -> set[str]:
    """Return which contents the database has, by digest."""
    found: set[str] = set()
    for chunk in _chunks(list(digests)):
        sql = (
            "SELECT sha256 FROM experiment_file_pieces WHERE id_experiment = ? AND "
            f"sha256 IN ({_marks(chunk)}) AND number = 0"
        )
        found.update(digest for (digest,) in transaction.rows(sql, (id_experiment, *chunk)))
    return found


def insert(transaction: Transaction, id_experiment: str, files: Sequence[StoredFile]) -> None:
    """Insert rows of files."""
    if not files:
        return
    ids, paths, sizes, digests, where = zip(*files, strict=True)
    cells = [[id_experiment] * len(files), ids, list(map(path_key, paths)), paths, sizes]
    transaction.insert("experiment_files", FILES, [*cells, digests, where])


def insert_content(transaction: Transaction, id_experiment: str, sha256: str, path: str) -> None:
    """Insert the content of a file of this machine, in pieces.

    Raises:
        CorruptData: It is not what it was.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123  a path of ours, as text
        number = 0
        while (data := file.read(PIECE_BYTES)) or not number:
            digest.update(data)
            cells: list[Sequence[Any]] = [[id_experiment], [sha256], [number], [data]]
            transaction.insert("experiment_file_pieces", PIECES, cells)
            number += 1
    if digest.hexdigest() != sha256:
        raise CorruptData(f"the content in {path} has changed since a step has set it")


def delete_rows(
    transaction: Transaction, id_experiment: str, gone: Mapping[str, Iterable[str]]
) -> list[StoredFile]:
    """Delete rows of files, if there are such; `drop_contents` does the rest.

    Args:
        transaction: Where; it holds the lock of the experiment.
        id_experiment: The experiment.
        gone: Names of the files by `id_run`.

    Returns:
        What they were.
    """
    stored = {(own.id_run, own.path): own for own in read(transaction, id_experiment, [*gone])}
    keys = [(id_run, path) for id_run, paths in gone.items() for path in paths]
    found = [stored[key] for key in keys if key in stored]
    sql = "DELETE FROM experiment_files WHERE id_experiment = ? AND id_run = ? AND path_key = ?"
    for own in found:
        transaction.run(sql, (id_experiment, own.id_run, path_key(own.path)))
    return found


def delete_of_runs(transaction: Transaction, id_experiment: str, ids: Sequence[str]) -> None:
    """Delete all files of runs, and contents that no other file has."""
    found = read(transaction, id_experiment, ids)
    if not found:
        return
    for chunk in _chunks(ids):
        sql = (
            f"DELETE FROM experiment_files WHERE id_experiment = ? AND id_run IN ({_marks(chunk)})"
        )
        transaction.run(sql, (id_experiment, *chunk))
    drop_contents(transaction, id_experiment, found)


def delete_all(transaction: Transaction, id_experiment: str) -> None:
    """See to it that the contents of an experiment go that are not in the database."""
    sql = (
        "SELECT DISTINCT place FROM experiment_files WHERE id_experiment = ? AND place IS NOT NULL"
    )
    uploads.abandon(transaction, [place for (place,) in transaction.rows(sql, (id_experiment,))])


def drop_contents(
    transaction: Transaction, id_experiment: str, files: Iterable[StoredFile]
) -> None:
    """Delete the contents of files that were deleted, unless other files have them.

    Args:
        transaction: Where; it holds the lock of the experiment.
        id_experiment: The experiment.
        files: The files.
    """
    gone = list(files)
    digests = list(dict.fromkeys(own.sha256 for own in gone))
    kept: set[tuple[str, str | None]] = set()
    for chunk in _chunks(digests):
        sql = (
            "SELECT DISTINCT sha256, place FROM experiment_files WHERE id_experiment = ? "
            f"AND sha256 IN ({_marks(chunk)})"
        )
        kept.update(
            (digest, place) for digest, place in transaction.rows(sql, (id_experiment, *chunk))
        )
    lost = list(dict.fromkeys((own.sha256, own.place) for own in gone))
    lost = [content for content in lost if content not in kept]
    for chunk in _chunks([digest for digest, place in lost if place is None]):
        sql = (
            "DELETE FROM experiment_file_pieces WHERE id_experiment = ? "
            f"AND sha256 IN ({_marks(chunk)})"
        )
        transaction.run(sql, (id_experiment, *chunk))
    uploads.abandon(transaction, [place for _, place in lost if place is not None])


def size(transaction: Transaction, id_experiment: str, runs: int) -> int:
    """Return the bytes of the contents of an experiment that are in the database.

    If there are many files, it is estimated by some of them: what several have is counted once.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        runs: How many runs it has.
    """
    sql = (
        "SELECT id_run, sha256, size, place FROM experiment_files WHERE id_experiment = ? "
        f"LIMIT {MEASURED}"
    )
    rows = transaction.rows(sql, (id_experiment,))
    times = Counter(sha256 for _, sha256, *_ in rows)
    sizes = {sha256: int(size) for _, sha256, size, place in rows if place is None}
    once = sum(size for sha256, size in sizes.items() if times[sha256] == 1)
    several = sum(sizes.values()) - once
    own = len({id_run for id_run, *_ in rows})
    return several + (once if len(rows) < MEASURED else once * runs // own)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
