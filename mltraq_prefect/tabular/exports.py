"""Writing experiments to files, some runs at a time."""

from __future__ import annotations

import contextlib
import csv
import importlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mltraq_prefect.errors import InvalidInput, StoreError
from mltraq_prefect.model.advance import Advance, unseen
from mltraq_prefect.requirements import with_extra
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.values.names import series_of
from mltraq_prefect.tabular.arrow import UnfitError, to_arrow
from mltraq_prefect.tabular.columns import Cells, Column, Part, names_of, ordered
from mltraq_prefect.tabular.forms import ENVELOPE, NOTHING, Form, form_of, joined
from mltraq_prefect.tabular.sources import Runs, Series, Source
from mltraq_prefect.tabular.writers import Arrow, Csv, JsonLines, Parquet, Writer

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


def _add(advance: Advance, before: int, total: int, rows: int) -> None:
    advance(before + rows, total)


def export_experiment(
    store: Store,
    name: str,
    path: Path,
    *,
    columns: Sequence[str] | None,
    series: bool = False,
    overwrite: bool,
    advance: Advance = unseen,
) -> None:
    """Write the runs of an experiment, or their series, to a file; see `Session.export`."""
    make = writer_for(path)
    store.require(name)
    source = (Series if series else Runs)(store, name, columns)
    total = source.total()
    with _new_file(path, overwrite=overwrite) as part:
        _Export(source, partial(_add, advance, 0, total)).write(make, part)


def export_all(store: Store, folder: Path, *, overwrite: bool, advance: Advance = unseen) -> None:
    """Write each experiment to Parquet files in a folder; see `Session.export`."""
    if folder.exists() and not folder.is_dir():
        raise InvalidInput(f"{folder} is a file; name a folder, or an experiment to export")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InvalidInput(
            f"the folder {folder} is not empty; name another, or let files in it that have the "
            "names of experiments be replaced: overwrite=True (--overwrite)"
        )
    listed = store.ls(has_sizes=False)
    sources: dict[str, dict[str, Source]] = {}
    done = total = 0
    for row in listed:
        sources[row["name"]], rows = _sources(store, row["name"], row["table_name"])
        total += int(row["runs"]) + rows
    with contextlib.ExitStack() as all_or_none:
        folder.mkdir(parents=True, exist_ok=True)
        for own in sources.values():
            for file, source in own.items():
                part = all_or_none.enter_context(_new_file(folder / file, overwrite=overwrite))
                export = _Export(source, partial(_add, advance, done, total))
                done += export.write(Parquet, part)
        part = all_or_none.enter_context(_new_file(folder / INDEX, overwrite=overwrite))
        with part.open("w", encoding="utf-8", newline="") as index:
            lines = csv.writer(index)
            lines.writerow(["name", "file", "series", "runs", "updated_at"])
            for row in listed:
                runs, *series = sources[row["name"]]
                lines.writerow([row["name"], runs, "".join(series), row["runs"], row["updated_at"]])


def _sources(store: Store, name: str, table: str) -> tuple[dict[str, Source], int]:
    """Return what an experiment has, by the name of its file, and how many rows of series.

    It has runs, and series if there are any.
    """
    found: dict[str, Source] = {f"{table}.parquet": Runs(store, name, None)}
    series = Series(store, name, None)
    if rows := series.total():
        found[f"{series_of(table)}.parquet"] = series
    return found, rows


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
            f"Excel files need the package {error.name}; run: {with_extra('excel')}"
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
            f"the file {path} exists; name another, or let it be replaced: overwrite=True "
            "(--overwrite)"
        )


class _Export:
    """Reads an experiment and writes it to a file.

    The forms of its columns are known when all rows were read. Mostly the first rows tell them, so
    the file is begun with those. Where a later row does not fit, the rest is read without writing,
    and the file is begun anew.
    """

    def __init__(self, source: Source, advance: Callable[[int], None]) -> None:
        self._source = source
        self._advance = advance
        self._forms: dict[Part, Form] = {}

    def write(self, make: type[Writer], path: Path) -> int:
        """Write the file; return the number of rows.

        Raises:
            InvalidInput: Such a file does not hold some of the values.
            StoreError: Others change the experiment all the time.
        """
        for _ in range(6):
            try:
                return self._attempt(make, path)
            except _ChangedError:
                continue
        raise StoreError(
            f"experiment {self._source.name!r} has changed each time that it was read, and was not "
            "exported; try again when nobody writes it"
        )

    def _attempt(self, make: type[Writer], path: Path) -> int:
        writer: Writer | None = None
        is_writing = True
        done = 0
        with contextlib.ExitStack() as opened:
            for cells, count in self._source.rows():
                is_known = self._absorb(cells)
                if writer is None:
                    writer = opened.enter_context(make(path, self._columns(make)))
                    is_known = True
                is_writing = is_writing and is_known
                if is_writing:
                    is_writing = self._written(writer, cells)
                done += count
                self._advance(done)
            if not is_writing:
                raise _ChangedError
        return done

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
        others = f", or choose other fields: columns={kept[:20]!r} (--column)" if kept else ""
        return (
            f"experiment {self._source.name!r}: {make.kind} has no cells for the values of "
            f"{shown}, such as arrays, bytes or values of several types; export to a .parquet or "
            f".arrow file, which keeps them{others}"
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
