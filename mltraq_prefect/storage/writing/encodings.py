"""Texts that the encoding of a database does not have, found after it has refused them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage.records import Record
from mltraq_prefect.storage.sql.connections import DriverError

_ENCODING = re.compile(r'"(\w+)"$')


def refused(error: DriverError, record: Record) -> InvalidInput:
    """Return the error of a user who wants to store such a text; it says where that is."""
    match = _ENCODING.search(error.whole)
    encoding = match[1] if match else "another one"
    where, character = next(_found(record, encoding), (": its values hold a character", ""))
    return InvalidInput(
        f"experiment {record.name!r}{where}{character}, which the encoding of the database, "
        f"{encoding}, does not have; use a database whose encoding is UTF8"
    )


def _found(record: Record, encoding: str) -> Iterator[tuple[str, str]]:
    for where, value in _texts(record):
        for character in dict.fromkeys(value):
            try:
                character.encode(encoding.replace("WIN", "cp"))
            except UnicodeEncodeError:
                yield f"{where} holds ", repr(character)
            except LookupError:
                return


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    """Yield where texts are, and what they hold."""
    yield ": its name", record.name
    yield ": its fields", _shown(record.fields)
    for run in record.runs:
        where = f", run {run.describe()}: "
        for key, value in run.fields.items():
            yield f"{where}the key {key!r}", key
            yield f"{where}fields.{key}", _shown(value)
        yield f"{where}params", _shown(dict(run.params))
        yield f"{where}its error", run.ledger.error or ""


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, (dict, list, tuple)) else ""
