"""Where results come from: the part of `Store` that reads it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from mltraq_prefect.provenance.facts import Facts
from mltraq_prefect.provenance.secrets import Secrets
from mltraq_prefect.storage import executions
from mltraq_prefect.storage.sql import schema
from mltraq_prefect.storage.sql.connections import Database, Transaction


class Provenance:
    """What is known of executions, and of the code in their fingerprints."""

    _database: Database

    def secrets(self) -> Secrets:
        """Return what hides the secrets of this database, and those of the environment."""
        return Secrets(os.environ, self._database.secrets)

    def known_executions(
        self,
        id_experiment: str,
        ids: Sequence[str] | None = None,
        *,
        whole: bool = False,
        last: int | None = None,
    ) -> list[Facts]:
        """Return what is known of executions, the earliest first.

        Args:
            id_experiment: Id of their experiment; one that is not there has none.
            ids: Only these executions.
            whole: Whether large kwargs and diffs are read as well.
            last: How many of the latest are read; all if None.

        Raises:
            CorruptData: A row is not what was written.
        """

        def read(transaction: Transaction) -> list[Facts]:
            if schema.version(transaction) is None:
                return []
            found = executions.read(transaction, id_experiment, ids, last)
            if not whole:
                return found
            return [executions.completed(transaction, id_experiment, own) for own in found]

        if self._database.is_missing():
            return []
        return self._database.retry(lambda: self._look(read))

    def _look(self, read: Callable[[Transaction], list[Facts]]) -> list[Facts]:
        with self._database.reading() as transaction:
            return read(transaction)
