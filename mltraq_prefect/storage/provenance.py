"""Where results come from: the part of `Store` that reads it, and writes it beforehand."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mltraq_prefect.provenance.facts import Facts
from mltraq_prefect.provenance.secrets import Secrets
from mltraq_prefect.storage.access import Access
from mltraq_prefect.storage.records import Record
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.tables import executions, experiments_table, fingerprints


class Provenance(Access):
    """What is known of executions, and of the code in their fingerprints."""

    def secrets(self) -> Secrets:
        """Return what hides the secrets of this database, and those of the environment."""
        return Secrets(os.environ, self._database.secrets)

    def note_executions(self, record: Record) -> None:
        """Write what is known of executions, and what fingerprints are made of, before any result.

        Args:
            record: Has them; the experiment is stored.

        Raises:
            ExperimentNotFound: It is not there, or another one now.
        """
        rows = executions.rows_of(record.executions.values(), self._database.dialect)

        def note() -> None:
            with self._locked(record.name, record.id_experiment) as (transaction, entry):
                executions.put(transaction, entry.id_experiment, rows)
                fingerprints.put(transaction, entry.id_experiment, record.fingerprints)

        self.check()
        self._database.retry(note)

    def last_write(self, name: str) -> str | None:
        """Return what identifies the last write of an experiment; None if it is not there."""
        if not self._exists():
            return None
        entry = self._reading(lambda t: experiments_table.find(t, name))
        return None if entry is None else entry.properties.get("write")

    def steps_begun_after(self, id_experiment: str, id_execution: str) -> set[str] | None:
        """Return the steps of executions that began after one; None if that is not known here.

        Args:
            id_experiment: Id of their experiment.
            id_execution: Id of that one.
        """
        return self._reading(lambda t: executions.begun_after(t, id_experiment, id_execution))

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
