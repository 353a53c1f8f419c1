"""Where a database is, for another process that is to write into it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mltraq_prefect.provenance.facts import Setting


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What another process makes a `Store` of the same database of, if it can reach it.

    It has the password of the database: it may be sent to processes of the user, and is nowhere
    to be kept or shown.

    Attributes:
        url: URL of the database, with its secrets.
        compress: Keys of fields whose binary values are compressed, or whether all are.
        files: Where contents of files are kept; None is in the database.
        provenance: What is noted of executions.
        identity: What tells this database from another one that has the same URL elsewhere; empty
            if only what is in it tells.
    """

    url: str = field(repr=False)
    compress: Collection[str] | bool
    files: str | None
    provenance: Setting
    identity: str
