"""Excel workbooks of one sheet."""

from __future__ import annotations

import datetime
import math
import re
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
from openpyxl.cell import WriteOnlyCell

from mltraq_prefect.codecs import to_json
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.tabular.columns import Cells
from mltraq_prefect.tabular.forms import EXACT_FLOAT, SCALARS
from mltraq_prefect.tabular.writers import Writer, checked

MOST_ROWS = 1_048_575
"""Of a sheet, below the names of the columns."""

MOST_TEXT = 32_767
"""Characters of a cell."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class Excel(Writer):
    """An Excel workbook: times in UTC without a zone, what Excel has no number for as text."""

    kind = "Excel"
    holds = SCALARS | {"json"}

    def open(self, path: Path) -> None:
        """Make the file."""
        self.path, self.rows = path, 0
        self.book = openpyxl.Workbook(write_only=True)
        self.sheet = self.book.create_sheet("runs")
        self.sheet.append([self._cell(column.name, column.name) for column in self.columns])

    def write(self, cells: Cells) -> None:
        """Write rows."""
        columns = [checked(column, cells[column.part]) for column in self.columns]
        self.rows += len(columns[0])
        if self.rows > MOST_ROWS:
            raise InvalidInput(
                f"a sheet of Excel has {MOST_ROWS:,} rows at most, and there are more runs; "
                "export to a .parquet or .csv file instead"
            )
        shown = [
            [self._cell(value, column.name) for value in values]
            for column, values in zip(self.columns, columns, strict=True)
        ]
        for row in zip(*shown, strict=True):
            self.sheet.append(row)

    def _cell(self, value: Any, column: str) -> Any:
        value = _plain(value)
        if type(value) is not str:
            return value
        if len(value) > MOST_TEXT:
            raise InvalidInput(
                f"a text in {column!r} is longer than the {MOST_TEXT:,} characters of a cell of "
                "Excel; export to a .parquet or .csv file, or choose other columns"
            )
        cell = WriteOnlyCell(self.sheet, _UNWRITABLE.sub("\ufffd", value))
        cell.data_type = "s"  # a text that begins with = is no formula
        return cell

    def close(self) -> None:
        """Finish the file."""
        self.book.save(self.path)


def _plain(value: Any) -> Any:
    """Return what a cell holds of a value: a number, a time without zone, or text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (dict, list)):
        return to_json(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) > EXACT_FLOAT:
        return str(value)
    return str(value) if isinstance(value, uuid.UUID) else value
