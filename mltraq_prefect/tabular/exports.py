"""Writing experiments to files, some runs at a time."""

from __future__ import annotations

import contextlib
import csv
import importlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from mltraq_prefect.errors import ExperimentNotFound, InvalidInput, StoreError
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.chunks import MOST_RUNS, START, Place
from mltraq_prefect.tabular.arrow import UnfitError, to_arrow
from mltraq_prefect.tabular.columns import (
    Cells,
    Column,
    Part,
    cells_of,
    names_of,
    ordered,
    size_of,
)
from mltraq_prefect.tabular.forms import ENVELOPE, NOTHING, Form, form_of, joined
from mltraq_prefect.tabular.writers import Arrow, Csv, JsonLines, Parquet, Writer

FIRST_RUNS = 16
"""Read first: nobody knows how large they are."""

MOST_BYTES = 32 * 2**20
"""Of values that are read at once, about."""

_WRITERS: dict[str, type[Writer]] = {
    ".parquet": Parquet,
    ".arrow": Arrow,
    ".feather": Arrow,
    ".csv": Csv,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
}
INDEX = "experiments.csv"
"""Says which file of a folder has which experiment."""

SUFFIXES = (*_WRITERS, ".xlsx")


class _ChangedError(Exception):
    """The columns or forms of a file are not those with which it was begun."""


def export_experiment(
    store: Store, name: str, path: Path, *, columns: Sequence[str] | None, overwrite: bool
) -> None:
    """Write the runs of an experiment to a file; see `Session.export`."""
    make = writer_for(path)
    if not store.exists(name):
        raise ExperimentNotFound(f"there is no experiment {name!r} in the database {store.url}")
    with _new_file(path, overwrite=overwrite) as part:
        _Export(store, name, columns).write(make, part)


def export_all(store: Store, folder: Path, *, overwrite: bool) -> None:
    """Write each experiment to a Parquet file in a folder; see `Session.export`."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; name a folder, or an experiment to export")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InvalidInput(
            f"the folder {folder} is not empty; name another, or pass overwrite=True to replace "
            "files in it that have the names of experiments"
        )
    listed = store.ls()
    files = [f"{row['table_name']}.parquet" for row in listed]
    with contextlib.ExitStack() as all_or_none:
        folder.mkdir(parents=True, exist_ok=True)
        for row, file in zip(listed, files, strict=True):
            part = all_or_none.enter_context(_new_file(folder / file, overwrite=overwrite))
            _Export(store, row["name"], None).write(Parquet, part)
        part = all_or_none.enter_context(_new_file(folder / INDEX, overwrite=overwrite))
        with part.open("w", encoding="utf-8", newline="") as index:
            rows = csv.writer(index)
            rows.writerow(["name", "file", "runs", "updated_at"])
            for row, file in zip(listed, files, strict=True):
                rows.writerow([row["name"], file, row["runs"], row["updated_at"]])


def writer_for(path: Path) -> type[Writer]:
    """Return what writes files of a suffix.

    Raises:
        InvalidInput: There is no such format, or the library for it is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(
            f"the suffix of {path} says no format; give the file one of {', '.join(SUFFIXES)}"
        )
    if suffix != ".xlsx":
        return _WRITERS[suffix]
    try:
        module = importlib.import_module("mltraq_prefect.tabular.excel")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"Excel files need the package {error.name}; install mltraq-prefect[excel]"
        ) from None
    made: type[Writer] = module.Excel
    return made


@contextlib.contextmanager
def _new_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a file that takes another name when it is complete, and is gone if it never is."""
    _refuse_taken(path, overwrite=overwrite)
    part = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        part.touch(exist_ok=False)
        yield part
        _refuse_taken(path, overwrite=overwrite)
        part.replace(path)
    except OSError as error:
        reason = error.strerror or "the disk is full, or the folder cannot be written"
        raise InvalidInput(f"{path} cannot be written: {reason}") from None
    finally:
        part.unlink(missing_ok=True)


def _refuse_taken(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise InvalidInput(
            f"the file {path} exists; name another, or pass overwrite=True to replace it"
        )


class _Export:
    """Reads an experiment and writes it to a file.

    The forms of its columns are known when all runs were read. Mostly the first runs tell them, so
    the file is begun with those. Where a later run does not fit, the rest is read without writing,
    and the file is begun anew.
    """

    def __init__(self, store: Store, name: str, columns: Sequence[str] | None) -> None:
        self._store = store
        self._name = name
        self._chosen = None if columns is None else list(dict.fromkeys(columns))
        self._forms: dict[Part, Form] = {}

    def write(self, make: type[Writer], path: Path) -> None:
        """Write the file.

        Raises:
            InvalidInput: Such a file does not hold some of the values.
            StoreError: Others change the experiment all the time.
        """
        for _ in range(6):
            try:
                self._attempt(make, path)
                return
            except _ChangedError:
                continue
        raise StoreError(
            f"experiment {self._name!r} has changed each time that it was read, and was not "
            "exported; try again when nobody writes it"
        )

    def _attempt(self, make: type[Writer], path: Path) -> None:
        writer: Writer | None = None
        is_writing = True
        with contextlib.ExitStack() as opened:
            for cells in self._chunks():
                is_known = self._absorb(cells)
                if writer is None:
                    writer = opened.enter_context(make(path, self._columns(make)))
                    is_known = True
                is_writing = is_writing and is_known
                if is_writing:
                    is_writing = self._written(writer, cells)
            if not is_writing:
                raise _ChangedError

    def _columns(self, make: type[Writer]) -> list[Column]:
        columns = [Column(n, part, self._forms[part]) for part, n in self._names().items()]
        refused = [c for c in columns if make.holds is not None and c.form.python not in make.holds]
        if refused:
            raise InvalidInput(self._refusal(make, refused))
        return columns

    def _names(self) -> dict[Part, str]:
        names = names_of(self._forms)
        return {part: names[part] for part in ordered(self._forms)}

    def _refusal(self, make: type[Writer], refused: Sequence[Column]) -> str:
        shown = ", ".join(repr(c.name) for c in refused[:5]) + (", ..." if refused[5:] else "")
        kept = [p.key for p in self._forms if p.source == "field"]
        kept = [key for key in kept if key not in {c.part.key for c in refused}]
        return (
            f"experiment {self._name!r}: {make.kind} has no cells for the values of {shown}, such "
            "as arrays, bytes or values of several types; export to a .parquet or .arrow file, "
            f"which keeps them, or choose other fields: columns={kept[:20]!r}"
        )

    def _written(self, writer: Writer, cells: Cells) -> bool:
        """Write rows; return whether they fit."""
        empty = [None] * len(cells[Part("id", "id_run")])
        try:
            writer.write({c.part: cells.get(c.part, empty) for c in writer.columns})
        except UnfitError:
            self._widen(cells)
            return False
        return True

    def _widen(self, cells: Cells) -> None:
        """Take the form that holds everything for columns whose values do not fit."""
        for part, values in cells.items():
            try:
                to_arrow(self._forms[part], values)
            except UnfitError:
                self._forms[part] = ENVELOPE

    def _absorb(self, cells: Cells) -> bool:
        """Learn the forms of columns; return whether they were known."""
        is_known = True
        for part, values in cells.items():
            own = form_of(value for value in values if value is not None)
            form = joined(self._forms.get(part, NOTHING), own)
            is_known = is_known and self._forms.get(part) == form
            self._forms[part] = form
        return is_known

    def _chunks(self) -> Iterator[Cells]:
        """Yield the values of all runs, some at a time; those of no runs if there are none."""
        place: Place | None = START
        held: list[Cells] = []
        count, size, id_experiment = FIRST_RUNS, 0, None
        while place is not None:
            chunk = self._store.chunk(self._name, place, count, self._chosen)
            record, place = chunk.record, chunk.last
            if id_experiment not in (None, record.id_experiment):
                raise StoreError(
                    f"experiment {self._name!r} was replaced while it was exported; export it again"
                )
            id_experiment = record.id_experiment
            held.append(cells_of(record.runs, chunk.keys if self._chosen is None else self._chosen))
            added = size_of(held[-1])
            size += added
            count = max(1, min(MOST_RUNS, 8 * count, count * MOST_BYTES // max(1, added)))
            if place is None or size > MOST_BYTES or count == MOST_RUNS:
                yield _united(held)
                held, size = [], 0


def _united(chunks: Sequence[Cells]) -> Cells:
    """Return the cells of several chunks as those of one."""
    if len(chunks) == 1:
        return chunks[0]
    parts = dict.fromkeys(part for cells in chunks for part in cells)
    empty = [[None] * len(cells[Part("id", "id_run")]) for cells in chunks]
    return {
        part: [v for cells, gap in zip(chunks, empty, strict=True) for v in cells.get(part, gap)]
        for part in parts
    }
