"""Files of tables that grow some rows at a time: Parquet, Arrow, CSV, JSON lines."""

from __future__ import annotations

import abc
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from mltraq_prefect.tabular.arrow import field_of, to_arrow
from mltraq_prefect.tabular.columns import Cells, Column
from mltraq_prefect.tabular.forms import SCALARS, Form


class Writer(abc.ABC):
    """A file of rows.

    Args:
        path: The file, which is made anew.
        columns: Its columns.

    Attributes:
        kind: What people call such a file.
        holds: The forms whose values it holds; all if None.
    """

    kind: ClassVar[str]
    holds: ClassVar[frozenset[str] | None] = None

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.open(path)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @abc.abstractmethod
    def open(self, path: Path) -> None:
        """Make the file."""

    @abc.abstractmethod
    def write(self, cells: Cells) -> None:
        """Write rows.

        Raises:
            UnfitError: A value is not of the form of its column; nothing was written.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Finish the file."""


class _ArrowWriter(Writer):
    """Files that keep Arrow's types, and what each column says of itself."""

    def open(self, path: Path) -> None:
        """Make the file."""
        self.schema = pa.schema([field_of(column) for column in self.columns])
        self.file = self.make(path)

    @abc.abstractmethod
    def make(self, path: Path) -> Any:
        """Return what writes tables of `schema` to a file."""

    def write(self, cells: Cells) -> None:
        """Write rows."""
        arrays = [to_arrow(column.form, cells[column.part]) for column in self.columns]
        self.file.write_table(pa.Table.from_arrays(arrays, schema=self.schema))

    def close(self) -> None:
        """Finish the file."""
        self.file.close()


class Parquet(_ArrowWriter):
    """Parquet, compressed by Zstandard."""

    kind = "Parquet"

    def make(self, path: Path) -> Any:
        """Return what writes to it."""
        return pa.parquet.ParquetWriter(path, self.schema, compression="zstd")


class Arrow(_ArrowWriter):
    """Arrow's IPC file, which is also called Feather, version 2."""

    kind = "Arrow"

    def make(self, path: Path) -> Any:
        """Return what writes to it."""
        return pa.ipc.new_file(path, self.schema)


class Csv(Writer):
    """Comma-separated values in UTF-8: text in quotes, durations in seconds, nothing if missing."""

    kind = "CSV"
    holds = SCALARS | {"json"}

    def open(self, path: Path) -> None:
        """Make the file."""
        types = [self._type(column.form.type) for column in self.columns]
        names = [column.name for column in self.columns]
        self.schema = pa.schema(list(zip(names, types, strict=True)))
        self.file = pa.csv.CSVWriter(path, self.schema)

    def _type(self, type_: pa.DataType) -> pa.DataType:
        """Return a type that Arrow writes as text, for one that it does not."""
        if pa.types.is_float16(type_) or pa.types.is_duration(type_):
            return pa.float64()
        return pa.string() if pa.types.is_null(type_) else type_

    def write(self, cells: Cells) -> None:
        """Write rows."""
        arrays = [self._shown(column.form, cells[column.part]) for column in self.columns]
        self.file.write_table(pa.Table.from_arrays(arrays, schema=self.schema))

    def _shown(self, form: Form, values: Sequence[Any]) -> pa.Array:
        array = to_arrow(form, values)
        if pa.types.is_duration(form.type):  # in seconds
            return pa.array([value and value.total_seconds() for value in values], pa.float64())
        return array.cast(self._type(form.type))

    def close(self) -> None:
        """Finish the file."""
        self.file.close()


class JsonLines(Writer):
    """One JSON object a line; NaN, infinities and what is missing are null."""

    kind = "JSON lines"
    holds = SCALARS | {"json", "list", "array"}

    def open(self, path: Path) -> None:
        """Make the file."""
        self.file = path.open("wb")

    def write(self, cells: Cells) -> None:
        """Write rows."""
        names = [column.name for column in self.columns]
        columns = [checked(column, cells[column.part]) for column in self.columns]
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
        self.file.writelines(
            orjson.dumps(dict(zip(names, row, strict=True)), default=_as_json, option=options)
            for row in zip(*columns, strict=True)
        )

    def close(self) -> None:
        """Finish the file."""
        self.file.close()


def checked(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    """Return values as they are.

    Raises:
        UnfitError: One is not of the form of its column.
    """
    to_arrow(column.form, values)
    return values


def _as_json(value: Any) -> Any:
    """Return what JSON has for a value that orjson does not know."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)
