"""The fields of an experiment as a whole: two columns of its row in `experiments`."""

from __future__ import annotations

from collections.abc import Mapping

from mltraq_prefect.codecs import decode, encode
from mltraq_prefect.errors import CorruptData, UnsupportedType
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.records import Record
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import large_values
from mltraq_prefect.storage.values.change_marks import Mark, exact_mark
from mltraq_prefect.storage.values.kinds import BINARY, JSON, KEY, Kind
from mltraq_prefect.storage.values.params import fields_as_json
from mltraq_prefect.storage.values.projection import field_path
from mltraq_prefect.storage.values.residuals import Exact

OWN_FIELDS: dict[str, Kind] = {"fields": JSON, "residual": BINARY}

_NO_RUN = ""
"""Stands for the experiment where large values are kept by run."""

Cells = tuple[str, bytes | None]
"""Those of the two columns: JSON that shows the fields, and one envelope of their envelopes."""


def encoded(record: Record) -> Exact:
    """Return the envelopes of the fields of an experiment.

    Raises:
        InvalidName: A key cannot be stored.
        UnsupportedType: A value cannot be kept exactly.
    """
    exact = {}
    for key, value in dict(record.fields).items():
        check_name(key, f"experiment {record.name!r}: field key")
        try:
            exact[key] = encode(value, path=field_path(key))
        except UnsupportedType as error:
            raise error.within(record.name) from None
    return exact


def marks_of(exact: Exact) -> dict[str, Mark]:
    """Return a mark of each field."""
    return {key: exact_mark(data) for key, data in exact.items()}


def merged(stored: Exact, own: Exact, seen: Mapping[str, Mark] | None) -> Exact:
    """Return what is stored, with what its owner has changed since it was seen.

    Args:
        stored: What is there.
        own: What the owner has.
        seen: Marks of what was there when it was read; None if it was not: what the owner has is
            added then, and nothing goes.
    """
    if seen is None:
        return stored | own
    kept = {key: data for key, data in stored.items() if key in own or key not in seen}
    marks = marks_of(own)
    return kept | {key: data for key, data in own.items() if marks[key] != seen.get(key)}


def cells_of(exact: Exact, dialect: Dialect) -> Cells:
    """Return the cells for the fields."""
    residual = encode(exact, path="residual") if exact else None
    return fields_as_json(exact, dialect), residual


def store_large(transaction: Transaction, id_experiment: str, cells: Cells) -> Cells:
    """Store a large residual outside of the row; return what the row holds."""
    text, residual = cells
    stored = large_values.put(transaction, id_experiment, [_NO_RUN], {"residual": [residual]})
    return text, stored["residual"][0]


def read(transaction: Transaction, id_experiment: str) -> bytes | None:
    """Return the residual of the fields of an experiment that is there."""
    sql = "SELECT residual FROM experiments WHERE id_experiment = ?"
    ((cell,),) = transaction.rows(sql, (id_experiment,))
    return whole(transaction, id_experiment, cell)


def whole(transaction: Transaction, id_experiment: str, cell: bytes | None) -> bytes | None:
    """Return the residual that a cell of the row holds, or refers to."""
    found = large_values.get(transaction, id_experiment, "residual", [_NO_RUN], [cell])
    residual: bytes | None = found[0]
    return residual


def parsed(residual: bytes | None, experiment: str) -> Exact:
    """Return the envelopes that a residual consists of.

    Raises:
        CorruptData: It is something else.
    """
    if residual is None:
        return {}
    try:
        exact = decode(residual)
        if not all(type(data) is bytes for data in exact.values()):
            raise TypeError
    except (CorruptData, TypeError, AttributeError):
        raise CorruptData("the residual is not a residual", experiment=experiment) from None
    return dict(exact)


def write(transaction: Transaction, id_experiment: str, cells: Cells) -> None:
    """Write the fields of an experiment."""
    large_values.drop(transaction, id_experiment, [_NO_RUN], ["residual"])
    columns = [[cell] for cell in (*store_large(transaction, id_experiment, cells), id_experiment)]
    transaction.update("experiments", OWN_FIELDS, {"id_experiment": KEY}, columns)
