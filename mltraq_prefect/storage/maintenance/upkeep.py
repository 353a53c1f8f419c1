"""What keeps a database in order: the part of `Store` that changes what is stored already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from mltraq_prefect.model.advance import Advance
from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.access import Access
from mltraq_prefect.storage.formats import schema
from mltraq_prefect.storage.formats.schema import check_version
from mltraq_prefect.storage.maintenance import deleting, integrity, renaming, slots
from mltraq_prefect.storage.maintenance.deleting import Condition
from mltraq_prefect.storage.maintenance.health import Health, check_writable, examine
from mltraq_prefect.storage.maintenance.integrity import Finding
from mltraq_prefect.storage.maintenance.retention import Old
from mltraq_prefect.storage.maintenance.slots import Due
from mltraq_prefect.storage.reading import reader
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Role
from mltraq_prefect.storage.tables import (
    executions,
    experiments_table,
    run_steps,
    run_tables,
    standings,
    tagging,
    views,
)
from mltraq_prefect.storage.tables.views import ViewColumn
from mltraq_prefect.storage.values.names import table_name

T = TypeVar("T")

PRUNED_AT_ONCE = 1_000
"""Old runs that one transaction deletes: others wait for it no longer than that takes."""


class Upkeep(Access):
    """Changes of experiments that are stored; each is one transaction."""

    def delete_runs(
        self, name: str, condition: Condition, *, id_experiment: str | None = None
    ) -> list[str]:
        """Delete runs with all that belongs to them, in one transaction.

        Args:
            name: Name of the experiment.
            condition: Which runs.
            id_experiment: Its id, if only that experiment is meant.

        Returns:
            Their ids.

        Raises:
            ExperimentNotFound: There is none of this name, or it is another one now.
            QueryFailed: The database does not understand the condition; nothing was deleted.
        """
        gone: dict[str, None] = {}  # also by an attempt whose acknowledgement was lost

        def delete() -> None:
            with self._locked(name, id_experiment) as (transaction, entry):
                ids = deleting.chosen(transaction, entry, condition)
                gone.update(dict.fromkeys(ids))
                deleting.delete(transaction, entry, ids)
                if ids:
                    executions.clear_unused(transaction, entry.id_experiment)

        self.check_for(name)
        self._database.retry(delete)
        return list(gone)

    def count_runs(self, name: str, condition: Condition) -> int:
        """Return how many runs `delete_runs` would delete."""

        def count() -> int:
            with self._database.querying() as transaction:
                return deleting.count(
                    transaction, reader.stored_entry(transaction, name), condition
                )

        self.check_for(name)
        return self._database.retry(count)

    def prune(self, name: str, old: Old, advance: Advance) -> int:
        """Delete old runs, some in each transaction; see `Session.prune`.

        Args:
            name: Name of the experiment.
            old: Which runs.
            advance: Gets how many are deleted, of how many.

        Returns:
            How many runs were deleted.
        """
        total, done = self.count_old(name, old), 0
        advance(0, total)
        while number := self._database.retry(lambda: self._prune(name, old)):
            done += number
            advance(done, max(done, total))
        if done:
            self._database.retry(lambda: self._clear_executions(name))
        self.repair(name)
        return done

    def _clear_executions(self, name: str) -> None:
        with self._locked(name) as (transaction, entry):
            executions.clear_unused(transaction, entry.id_experiment)

    def _prune(self, name: str, old: Old) -> int:
        with self._locked(name) as (transaction, entry):
            condition = old.condition(transaction, entry)
            if condition is None:
                return 0
            ids = deleting.chosen(transaction, entry, condition, PRUNED_AT_ONCE)
            if ids:
                deleting.delete(transaction, entry, ids)
            return len(ids)

    def count_old(self, name: str, old: Old) -> int:
        """Return how many runs `prune` would delete."""

        def count() -> int:
            with self._database.querying() as transaction:
                entry = reader.stored_entry(transaction, name)
                condition = old.condition(transaction, entry)
                return 0 if condition is None else deleting.count(transaction, entry, condition)

        self.check_for(name)
        return self._database.retry(count)

    def missing_slots(self, name: str, slot: str, wanted: Due) -> list[datetime]:
        """Return the slots that an experiment lacks, see `Session.missing_slots`."""

        def find() -> list[datetime]:
            with self._database.querying() as transaction:
                return slots.missing(transaction, name, slot, wanted)

        self.check()
        return self._database.retry(find)

    def repair(self, name: str) -> bool:
        """Count the runs of an experiment and set their standings anew.

        Returns:
            Whether the database said something else.

        Raises:
            ExperimentNotFound: There is none of this name.
        """

        def repair() -> bool:
            with self._locked(name) as (transaction, entry):
                is_mended = standings.mend(transaction, entry.id_experiment)
                counts = deleting.counted(transaction, entry)
                return deleting.noted(transaction, entry, *counts) is not entry or is_mended

        self.check_for(name)
        return self._database.retry(repair)

    def name_flow_run(
        self,
        name: str,
        id_experiment: str,
        ids: Sequence[str],
        flow_run_id: str,
        id_execution: str | None = None,
    ) -> None:
        """Note the flow run of runs that were written before there was one.

        Args:
            name: Name of the experiment.
            id_experiment: Its id.
            ids: Ids of the runs.
            flow_run_id: Id of the flow run.
            id_execution: Id of their execution, if it is noted.

        Raises:
            ExperimentNotFound: There is none of this name, or it is another one now.
        """

        def note() -> None:
            with self._locked(name, id_experiment) as (transaction, _):
                run_steps.name_flow_run(transaction, id_experiment, ids, flow_run_id, id_execution)

        self._database.retry(note)

    def names(self) -> list[str]:
        """Return the names of the experiments, also of those that cannot be read."""
        if not schema.exists(self._database):
            return []
        rows = self._read(lambda t: t.rows("SELECT name FROM experiments"))
        return sorted(str(name) for (name,) in rows)

    def findings(self, name: str | None) -> list[Finding]:
        """Return what does not belong together in the tables of an experiment, or beside all.

        Raises:
            ExperimentNotFound: There is none of this name.
            CorruptData: Its row cannot be read.
        """
        if name is None:
            return self._read(integrity.beside) if self._exists() else []
        return self._read(lambda t: integrity.within(t, reader.stored_entry(t, name)))

    def listed(self, name: str, after: int, most: int) -> list[tuple[int, str, bool]]:
        """Return position and id of the runs after a position, and whether they have a row."""
        return self._read(lambda t: integrity.listed(t, reader.stored_entry(t, name), after, most))

    def examine(self) -> Health:
        """Find out what the database is like, without changing anything in it."""
        return examine(self._database)

    def grant(self, role: Role, user: str, *, only_show: bool = False) -> list[str]:
        """Give a user of the database a part, in all that is and will be stored.

        Args:
            role: ``"reader"``; ``"writer"``, who adds and changes runs of experiments that are
                there; or ``"owner"``, who does all, as the owner of the tables.
            user: The user, as the database calls them.
            only_show: Whether nothing is changed.

        Returns:
            The statements that do it.

        Raises:
            InvalidInput: The database has no users, or this one cannot be given the part.
            StoreError: The database refused, for instance as there is no such user.
        """

        def grant() -> list[str]:
            with self._database.writing(schema.SCHEMA_LOCK) as transaction:
                dialect, connection = self._database.dialect, transaction.connection
                relations = sorted(transaction.relations(experiments_table.relations(transaction)))
                statements = dialect.grants(connection, role, user, relations)
                for statement in () if only_show else statements:
                    transaction.define(statement)
                return list(statements)

        self.check()
        return self._database.retry(grant)

    def check_writable(self) -> None:
        """Refuse to go on where nothing can be written; the tables are there.

        Raises:
            StoreError: The database says why.
        """
        self._database.retry(lambda: check_writable(self._database))

    def delete(self, name: str) -> None:
        """Delete an experiment with its runs and its pickle.

        Raises:
            ExperimentNotFound: There is none of this name.
        """
        self.check_for(name)
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
            if not beginning.isascii():  # as no id is
                return []
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
        self.check_for(name)
        renamed: list[str] = []
        if name == new:
            self._read(lambda t: reader.stored_entry(t, name))
        else:
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
        given = tagging.by_name(tags, f"experiment {name!r}")
        kept = {key: tag for key, tag in given.items() if tag is not None}
        tagging.checked(kept, note or "", name)
        self.check_for(name)
        changes = tagging.Changes(dict(tags), note)
        return self._database.retry(lambda: self._annotate(name, changes))

    def _annotate(self, name: str, changes: tagging.Changes) -> tagging.Annotations:
        with self._locked(name) as (transaction, entry):
            said = changes.applied(entry.annotations)
            tagging.checked(said.tags, said.note, name)
            if said != entry.annotations:
                now = entry.properties | experiments_table.origin()
                revision = entry.revision + 1
                changed = replace(entry, annotations=said, properties=now, revision=revision)
                experiments_table.update(transaction, changed)
            return said
