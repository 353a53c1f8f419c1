"""One write of one experiment: what creating it and merging into it share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from mltraq_prefect.model.names import check_name
from mltraq_prefect.storage.files import file_plan
from mltraq_prefect.storage.formats.schema import PICKLES
from mltraq_prefect.storage.records import Part, Record, SeenRuns, Snapshot, Written
from mltraq_prefect.storage.series import series_rows
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import executions, fingerprints, own_fields, tagging
from mltraq_prefect.storage.tables.experiments_table import Entry
from mltraq_prefect.storage.tables.tagging import Annotations
from mltraq_prefect.storage.values.names import table_name
from mltraq_prefect.storage.values.projection import field_path
from mltraq_prefect.storage.values.residuals import Exact
from mltraq_prefect.storage.writing.write_plan import Plan, check_row

Pickle = Callable[[str], bytes]
"""Makes the sealed pickle of an experiment from the id under which it is stored."""


@dataclass(slots=True)
class Job:
    """What is to be written.

    Attributes:
        dialect: The backend.
        record: The experiment.
        pickle: Makes the pickle to store with it, if any.
        token: Identifies this write, so that a repetition after a lost acknowledgement
            recognises what it has done already.
        compressed: Keys of fields whose binary values are compressed, or whether all are.
        table: The name that the table of its runs has in the end.
        own: Envelopes of its own fields.
        annotations: Its tags and note.
        executions: Rows of its executions.
    """

    dialect: Dialect
    record: Record
    pickle: Pickle | None
    token: str
    compressed: Collection[str] | bool
    table: str = field(init=False)
    own: Exact = field(init=False)
    annotations: Annotations = field(init=False)
    executions: Sequence[executions.Row] = field(init=False)
    _sealed: dict[str, bytes] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.table = table_name(check_name(self.record.name, "experiment name"))
        self.own = own_fields.encoded(self.record)
        self.executions = executions.rows_of(self.record.executions.values(), self.dialect)
        said = self.record.annotations
        self.annotations = tagging.checked(said.tags, said.note, self.record.name)

    def is_done(self, current: Entry | None) -> bool:
        """Return whether this write was done before, and its acknowledgement lost."""
        known = {} if current is None else current.properties
        return self.token in (known.get("write"), known.get("create"))

    def said_of(self, stored: Entry) -> Annotations:
        """Return tags and note of a stored experiment with what this one changes of them."""
        snapshot = self.record.snapshot
        if snapshot is None or snapshot.id_experiment != stored.id_experiment:
            seen = None
        else:
            seen = snapshot.annotations
        return tagging.changes(self.annotations, seen).applied(stored.annotations)

    def check_own(self, cells: own_fields.Cells | None, limit: int) -> None:
        """Refuse fields of the experiment that its row cannot take."""
        row: dict[str, str | bytes] = {field_path(key): data for key, data in self.own.items()}
        row["fields (as JSON)"] = "" if cells is None else cells[0]
        check_row(row, "its own fields", self.record, self.dialect, limit)

    def sealed(self, id_experiment: str, limit: int) -> bytes | None:
        """Return the pickle to store, or None."""
        if self.pickle is None:
            return None
        if id_experiment not in self._sealed:
            self._sealed = {id_experiment: self.pickle(id_experiment)}
        sealed = self._sealed[id_experiment]
        check_row({"pickle": sealed}, "its pickle", self.record, self.dialect, limit)
        return sealed

    def write_shared(
        self, transaction: Transaction, id_experiment: str, sealed: bytes | None
    ) -> None:
        """Write what belongs to the experiment as a whole: executions, code, and a pickle."""
        executions.put(transaction, id_experiment, self.executions)
        fingerprints.put(transaction, id_experiment, self.record.fingerprints)
        if sealed is not None:
            sql = "DELETE FROM experiment_pickles WHERE id_experiment = ?"
            transaction.run(sql, (id_experiment,))
            transaction.insert("experiment_pickles", PICKLES, [[id_experiment], [sealed]])

    def written(
        self,
        entry: Entry,
        part: Part,
        runs: int,
        steps: Sequence[str],
        columns: Sequence[str],
    ) -> Written:
        """Return what was done, which is nothing if the entry is of another write.

        Args:
            entry: The entry of the experiment as it is now.
            part: What the database holds now of the runs.
            runs: How many were inserted or changed.
            steps: Steps that the database did not list before.
            columns: Keys of the fields that were written.
        """
        own, now = own_fields.marks_of(self.own), entry.revision
        rows = series_rows.changes(self.record.runs)
        kept = file_plan.changes(self.record.runs)
        return Written(
            id_experiment=entry.id_experiment,
            table=entry.table,
            revision=entry.revision,
            runs=runs,
            columns=list(columns),
            steps=list(steps),
            changed=self.is_done(entry),
            snapshot=Snapshot(
                entry.id_experiment, SeenRuns(part), own, self.annotations, now, now, rows, kept
            ),
            is_staged=entry.is_staged,
        )

    def all_written(self, entry: Entry, plan: Plan, positions: Sequence[int] = ()) -> Written:
        """Return that everything was written, as new runs if their positions are given."""
        part = plan.part(positions)
        return self.written(entry, part, len(self.record.runs), plan.steps(), list(plan.fields))
