"""What keeps a database in order: the part of `Store` that changes what is stored already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage import experiments_table, reader, renaming, run_tables, tagging, views
from mltraq_prefect.storage.health import Health, examine
from mltraq_prefect.storage.sql.connections import Database, Transaction
from mltraq_prefect.storage.sql.schema import check_version
from mltraq_prefect.storage.values.names import table_name
from mltraq_prefect.storage.views import ViewColumn

T = TypeVar("T")


class Upkeep:
    """Changes of experiments that are stored; each is one transaction."""

    _database: Database

    def check(self) -> None:
        """Connect, and see to it that the tables are there."""
        raise NotImplementedError

    def examine(self) -> Health:
        """Find out what the database is like, without changing anything in it."""
        return examine(self._database)

    def delete(self, name: str) -> None:
        """Delete an experiment with its runs and its pickle.

        Raises:
            ExperimentNotFound: There is none of this name.
        """
        self.check()
        deleted: list[str] = []
        self._database.retry(lambda: self._delete(name, deleted))

    def _delete(self, name: str, deleted: list[str]) -> None:
        """Delete an experiment; `deleted` tells a repetition which one it was."""
        with self._database.writing(table_name(name)) as transaction:
            check_version(transaction, self._database)
            entry = experiments_table.find(transaction, name)
            entry = run_tables.recover(transaction, table_name(name), entry)
            if deleted and (entry is None or entry.id_experiment not in deleted):
                return  # the commit was done, and its acknowledgement lost
            entry = entry or reader.stored_entry(transaction, name)
            deleted.append(entry.id_experiment)
            run_tables.delete(transaction, entry)

    def columns(self, name: str) -> list[ViewColumn]:
        """Return what SQL sees of the runs of an experiment: the columns of its view.

        Raises:
            ExperimentNotFound: There is none of this name.
        """
        entry = self._read(lambda t: reader.stored_entry(t, name))
        return views.columns(entry, self._database.dialect)

    def find_runs(self, name: str, beginning: str, most: int = 2) -> list[str]:
        """Return the first ids of an experiment's runs that begin with some letters.

        Raises:
            ExperimentNotFound: There is none of this name.
        """

        def read(transaction: Transaction) -> list[str]:
            entry = reader.stored_entry(transaction, name)
            sql = (
                "SELECT id_run FROM experiment_runs WHERE id_experiment = ? "
                f"AND id_run BETWEEN ? AND ? ORDER BY id_run LIMIT {most:d}"
            )
            last = f"{beginning}~"  # which no letter of an id follows
            rows = transaction.rows(sql, (entry.id_experiment, beginning, last))
            return [id_run for (id_run,) in rows]

        return self._read(read)

    def _read(self, read: Callable[[Transaction], T]) -> T:
        def once() -> T:
            with self._database.reading() as transaction:
                return read(transaction)

        return self._database.retry(once)

    def rename(self, name: str, new: str, *, id_experiment: str | None = None) -> None:
        """Give an experiment, and its table, another name; ids of runs stay.

        Args:
            name: Its name.
            new: The name that it shall have.
            id_experiment: Its id, if only that experiment is meant.

        Raises:
            InvalidName: The new name cannot be stored.
            ExperimentNotFound: There is none of this name.
            ExperimentExists: There is one of the new name.
            StoreError: It is another experiment now, or something of a user's would not follow.
        """
        check_name(new, "experiment name")
        self.check()
        renamed: list[str] = []
        if name != new:
            self._database.retry(
                lambda: renaming.rename(self._database, name, new, id_experiment, renamed)
            )

    def annotate(
        self, name: str, tags: Mapping[str, str | None], note: str | None
    ) -> tagging.Annotations:
        """Change tags and note of an experiment.

        Args:
            name: Its name.
            tags: New tags by name; None removes one.
            note: The new note; None leaves it.

        Returns:
            What it has now.

        Raises:
            InvalidInput: A tag or the note cannot be stored.
            ExperimentNotFound: There is none of this name.
        """
        kept = {key: tag for key, tag in tags.items() if tag is not None}
        tagging.checked(kept, note or "", name)
        self.check()
        changes = tagging.Changes(dict(tags), note)
        return self._database.retry(lambda: self._annotate(name, changes))

    def _annotate(self, name: str, changes: tagging.Changes) -> tagging.Annotations:
        with self._database.writing(table_name(name)) as transaction:
            check_version(transaction, self._database)
            found = experiments_table.find(transaction, name)
            entry = run_tables.recover(transaction, table_name(name), found)
            entry = entry or reader.stored_entry(transaction, name)
            said = changes.applied(entry.annotations)
            tagging.checked(said.tags, said.note, name)
            if said != entry.annotations:
                now = entry.properties | experiments_table.origin()
                revision = entry.revision + 1
                changed = replace(entry, annotations=said, properties=now, revision=revision)
                experiments_table.update(transaction, changed)
            return said
