"""Tables that others have made, or `exports`: frames, Arrow tables and files, as columns."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.requirements import with_extra
from mltraq_prefect.tabular.arrow import form_in, from_arrow
from mltraq_prefect.tabular.columns import Part
from mltraq_prefect.tabular.forms import EXACT_FLOAT

_NO_SUCH_FILE = (orjson.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError)
"""What readers raise for files of another kind."""

Table = dict[str, tuple[Part | None, Sequence[Any]]]
"""By the name of a column: what it says that it holds, and its values; None for a missing one."""


def table_of(source: Any) -> Table:
    """Return the columns of a frame, an Arrow table, or a file.

    Args:
        source: A pandas frame, anything with Arrow's C stream interface (pyarrow, polars,
            DuckDB), or the path of a file.

    Raises:
        InvalidInput: It is none of these, or cannot be read.
        CorruptData: A file of ours holds something else than it says.
    """
    if isinstance(source, (str, Path)):
        return _of_file(Path(source))
    if isinstance(source, pd.DataFrame):
        return _of_frame(source)
    if isinstance(source, pa.Table):
        return _of_arrow(source)
    if hasattr(source, "__arrow_c_stream__"):
        return _of_arrow(pa.table(source))
    raise InvalidInput(
        f"a {type(source).__name__} is not a table: give import_frame a DataFrame of pandas or "
        "polars, an Arrow table, or the path of a file"
    )


def _of_file(path: Path) -> Table:
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InvalidInput(f"the suffix of {path} says no format; known are {', '.join(_READERS)}")
    if not path.exists():
        raise InvalidInput(f"there is no file {path}")
    try:
        return read(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from None
    except (pa.ArrowException, *_NO_SUCH_FILE) as error:
        raise InvalidInput(f"{path} is not a {path.suffix} file: {error!s:.200}") from None


def _of_frame(frame: pd.DataFrame) -> Table:
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise InvalidInput(f"the frame has two columns {twice!r}; rename one")
    return {name: (None, _values(frame[name])) for name in frame.columns}


def _values(column: pd.Series[Any]) -> list[Any]:
    values = [*map(_value, column.tolist())]
    if isinstance(column.dtype, np.dtype):
        return values
    return [None if value != value else value for value in values]  # a missing text is NaN


def _value(value: Any) -> Any:
    """Return a value of a frame as Python has it: None if it is missing, but NaN is a number."""
    if value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp) and not value.nanosecond:
        return value.to_pydatetime()
    if isinstance(value, pd.Timedelta) and not value.nanoseconds:
        return value.to_pytimedelta()
    return value


def _of_arrow(table: pa.Table) -> Table:
    found: Table = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name in found:
            raise InvalidInput(f"the table has two columns {field.name!r}; rename one")
        described = form_in(field)
        if described is None:
            found[field.name] = None, [*map(_value, column.to_pylist())]
        else:
            part, form = described
            found[field.name] = part, from_arrow(form, column)
    return found


def _of_lines(path: Path) -> Table:
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise TypeError("a line is not an object with values by name")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: (None, [row.get(name) for row in rows]) for name in names}


def _of_excel(path: Path) -> Table:
    try:
        # Only an empty cell is missing: "NA" and "None" are texts.
        frame = pd.read_excel(
            path, engine="openpyxl", dtype=object, keep_default_na=False, na_values=[""]
        )
    except ImportError:
        raise InvalidInput(
            f"Excel files need the package openpyxl; run: {with_extra('excel')}"
        ) from None
    except (ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path} is not an Excel file: {error}") from None
    table = _of_frame(frame.where(frame.notna(), None))
    return {name: (part, _of_one_type(values)) for name, (part, values) in table.items()}


def _of_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """Return cells of Excel, whose numbers are all floats, as floats if any is no integer."""
    numbers = [value for value in values if type(value) in (int, float)]
    if all(type(value) is int and abs(value) <= EXACT_FLOAT for value in numbers):
        return values
    return [float(value) if type(value) is int else value for value in values]


def _csv(path: Path) -> Table:
    """Return the columns of a CSV file; 007 is a text, as it is no number that is written so."""
    table = _read_csv(path)
    names = [field.name for field in table.schema if _is_number(field.type)]
    if names and len(set(table.column_names)) == table.num_columns:
        texts = _read_csv(
            path, include_columns=names, column_types=dict.fromkeys(names, pa.string())
        )
        for name in names:
            if pc.any(pc.match_substring_regex(texts[name], "^-?0[0-9]")).as_py():
                table = table.set_column(table.column_names.index(name), name, texts[name])
    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise TypeError(f"column {field.name!r} is not UTF-8 text; save the file as UTF-8")
    return _of_arrow(table)


def _is_number(type_: pa.DataType) -> bool:
    """Return whether it is one; integers of more than 64 bits are read as floats."""
    return bool(pa.types.is_integer(type_) or pa.types.is_floating(type_))


def _read_csv(path: Path, **options: Any) -> pa.Table:
    converting = pyarrow.csv.ConvertOptions(
        strings_can_be_null=True, quoted_strings_can_be_null=False, **options
    )
    return pyarrow.csv.read_csv(path, convert_options=converting)


_READERS: dict[str, Callable[[Path], Table]] = {
    ".parquet": lambda path: _of_arrow(pyarrow.parquet.read_table(path, partitioning=None)),
    ".arrow": lambda path: _of_arrow(pyarrow.feather.read_table(path)),
    ".feather": lambda path: _of_arrow(pyarrow.feather.read_table(path)),
    ".csv": _csv,
    ".jsonl": _of_lines,
    ".ndjson": _of_lines,
    ".xlsx": _of_excel,
}
