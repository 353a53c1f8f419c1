"""Where results come from: the part of `Store` that reads it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mltraq_prefect.provenance.facts import Facts
from mltraq_prefect.provenance.secrets import Secrets
from mltraq_prefect.storage import executions
from mltraq_prefect.storage.access import Access
from mltraq_prefect.storage.sql.connections import Transaction


class Provenance(Access):
    """What is known of executions, and of the code in their fingerprints."""

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
            found = executions.read(transaction, id_experiment, ids, last)
            if not whole:
                return found
            return [executions.completed(transaction, id_experiment, own) for own in found]

        return self._reading(read) if self._exists() else []
