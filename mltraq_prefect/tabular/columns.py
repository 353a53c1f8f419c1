"""The columns of a file: params, fields and ledger of runs, each with a name of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from mltraq_prefect.model.ledger_entry import RUN_COLUMNS
from mltraq_prefect.model.run import Run
from mltraq_prefect.tabular.forms import Form

Source = Literal["id", "param", "field", "ledger"]

LEDGER = tuple(name for name in RUN_COLUMNS if name != "position")
"""What files have of the ledger; the order of the rows is that of the runs."""

ID = "id_run"
PREFIXES = {"param": "param_", "ledger": "run_"}
"""What the name of a column begins with if another one has its name already."""


SOURCES = ("id", "param", "field", "ledger")
"""What columns hold parts of, in the order of a file."""


class Part(NamedTuple):
    """What a column holds of runs.

    Attributes:
        source: Which part of them.
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


def size_of(cells: Cells) -> int:
    """Return about how many bytes values take in memory."""
    return sum(sum(map(_size, values)) for values in cells.values())


def _size(value: Any) -> int:
    return int(getattr(value, "nbytes", 0)) or sys.getsizeof(value)


def ordered(parts: Iterable[Part]) -> list[Part]:
    """Return parts in the order of a file: id, params, fields, ledger."""
    return sorted(parts, key=lambda part: SOURCES.index(part.source))


def names_of(parts: Iterable[Part]) -> dict[Part, str]:
    """Return the name of each column: its key, or with a prefix where two would have one name.

    Fields keep their names, then params, then the ledger; upper and lower case do not differ.
    """
    found: dict[Part, str] = {}
    taken: set[str] = set()
    for source in ("id", "field", "param", "ledger"):
        for part in parts:
            if part.source == source:
                name = part.key
                while name.lower() in taken:
                    name = PREFIXES.get(source, "field_") + name
                taken.add(name.lower())
                found[part] = name
    return found
