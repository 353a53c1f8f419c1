"""The columns of a file: what it holds of runs or of their series, each with its own name."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from mltraq_prefect.model.ledger_entry import RUN_COLUMNS
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import MISSING, Placed, joined
from mltraq_prefect.model.sizes import bytes_of
from mltraq_prefect.tabular.forms import Form

Source = Literal["id", "series", "param", "field", "ledger"]

LEDGER = tuple(name for name in RUN_COLUMNS if name != "position")
"""What files have of the ledger; the order of the rows is that of the runs."""

ID = "id_run"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
PREFIXES = {"param": "param_", "ledger": "run_"}
"""What the name of a column begins with if another one has its name already."""


SOURCES = get_args(Source)
"""What columns hold parts of, in the order of a file."""


class Part(NamedTuple):
    """What a column holds of runs, or of rows that they have logged.

    Attributes:
        source: Which part of them; ``series`` is what each row of a series has, and what it was
            given by name is a field.
        key: Its key there.
    """

    source: Source
    key: str


class Column(NamedTuple):
    """A column of a file.

    Attributes:
        name: Its name in the file.
        part: What it holds.
        form: The form of its values.
    """

    name: str
    part: Part
    form: Form


OF_SERIES = ("seq", "step", "at")
"""What each row of a series has; with `ID`, its file begins with these."""

Cells = dict[Part, list[Any]]
"""Values by column, of the same runs; None where a run has none."""


def cells_of(runs: Sequence[Run], keys: Iterable[str]) -> Cells:
    """Return the values of runs by column.

    Args:
        runs: The runs.
        keys: The fields to return.
    """
    found: Cells = {Part("id", ID): [run.id_run for run in runs]}
    params = [run.params for run in runs]
    for key in dict.fromkeys(key for own in params for key in own):
        found[Part("param", key)] = [dict.get(own, key) for own in params]
    fields = [run.fields for run in runs]
    for key in keys:
        found[Part("field", key)] = [dict.get(own, key) for own in fields]
    ledger = [run.ledger for run in runs]
    for name in LEDGER:
        found[Part("ledger", name)] = [getattr(entry, name) for entry in ledger]
    return found


def series_cells_of(rows: Iterable[tuple[str, Sequence[Placed]]], keys: Iterable[str]) -> Cells:
    """Return the values of logged rows by column.

    Args:
        rows: The series of runs by their ids.
        keys: The keys to return.
    """
    parts = [(id_run, part) for id_run, placed in rows for part in placed]
    own = joined([part.rows for _, part in parts])
    found: Cells = {Part("id", ID): [id_run for id_run, part in parts for _ in part.seq]}
    numbers: list[Any] = [number for _, part in parts for number in part.seq]
    times: list[Any] = [EPOCH + datetime.timedelta(microseconds=t) for t in own.times]
    for key, of_each in zip(OF_SERIES, (numbers, list(own.steps), times), strict=True):
        found[Part("series", key)] = of_each
    for key in keys:
        values = own.columns.get(key, [None] * len(own))
        found[Part("field", key)] = [None if value is MISSING else value for value in values]
    return found


def size_of(cells: Cells) -> int:
    """Return about how many bytes values take in memory."""
    return sum(sum(map(bytes_of, values)) for values in cells.values())


def ordered(parts: Iterable[Part]) -> list[Part]:
    """Return parts in the order of a file: id, params, fields, ledger."""
    return sorted(parts, key=lambda part: SOURCES.index(part.source))


def names_of(parts: Iterable[Part]) -> dict[Part, str]:
    """Return the name of each column: its key, or with a prefix where two would have one name.

    Fields keep their names, then params, then the ledger; upper and lower case do not differ.
    """
    found: dict[Part, str] = {}
    taken: set[str] = set()
    for source in ("id", "series", "field", "param", "ledger"):
        for part in parts:
            if part.source == source:
                name = part.key
                while name.lower() in taken:
                    name = PREFIXES.get(source, "field_") + name
                taken.add(name.lower())
                found[part] = name
    return found
