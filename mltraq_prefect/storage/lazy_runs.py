"""Runs that were read: kept in columns, each made when somebody asks for it."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Any

from mltraq_prefect.model.ledger_entry import RUN_COLUMNS, LedgerEntry, StepEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.params import Params
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import MISSING, Placed
from mltraq_prefect.storage.file_reader import FilesOfRuns, ReadFiles
from mltraq_prefect.storage.ledger import LEDGER_COLUMNS
from mltraq_prefect.storage.run_steps import Executions
from mltraq_prefect.storage.sql.dialects import Dialect

Series = dict[str, list[Placed]]
"""Rows of series by `id_run`."""

FILES_AHEAD = 500
"""Runs whose files are listed when those of one are asked for."""

ReadSeries = Callable[[Sequence[str]], Series]
"""Reads the series of runs, by their ids."""


class StoredRuns:
    """What `Run.stored` makes runs of: a `Source`.

    The index of a run is that of its row in the table of runs.

    Args:
        dialect: Where they were read.
        fields: The values of each field.
        large: Keys of those that may be large: a run shall have the only reference to its value.
        params: Returns the params of each run; raises CorruptData.
        ledger: Cells by column of the ledger, as `LedgerColumn.maker` keeps them.
        steps: The completed steps of each distinct text of the column `steps`.
        rows: Index of each run in the ledger and among the params.
        executions: Returns the entries of steps that the database has of these runs.
        logged: Returns the rows that it has of the series of runs, by their ids.
        files: Returns their files likewise.
    """

    parts = frozenset(("params", "fields", "ledger"))
    reads = False

    def __init__(
        self,
        dialect: Dialect,
        fields: Mapping[str, Sequence[Any]],
        large: Collection[str],
        params: Callable[[], Sequence[Mapping[str, Any]]],
        ledger: Mapping[str, Sequence[Any]],
        steps: Mapping[str, dict[str, str]],
        rows: Sequence[int],
        executions: Callable[[], Executions],
        logged: ReadSeries,
        files: ReadFiles,
    ) -> None:
        self.lock = threading.Lock()
        self._dialect = dialect
        self._keys = tuple(fields)
        own = {key: list(fields[key]) for key in large}
        self._columns = tuple((dict(fields) | own).values())
        self._large = list(own.values())
        self._params = cache(params)
        self._ledger = ledger
        self._steps = steps
        self._rows = rows
        self._executions = cache(executions)
        self.logged = logged
        self._read_files = files
        self._files: FilesOfRuns = {}
        self._entries = [(LEDGER_COLUMNS[name], ledger[name]) for name in RUN_COLUMNS]

    def make(self, part: str, run: Run) -> Any:
        """Return the params, fields or ledger entry of a run."""
        if part == "fields":
            return self._fields_of(run.index)
        return self._params_of(run.index) if part == "params" else self._ledger_of(run.index)

    def files(self, runs: Sequence[Run]) -> FilesOfRuns:
        """Return the files of runs; for one of them, those of the next ones are read, too."""
        with self.lock:
            if any(run.id_run not in self._files for run in runs):
                indexes = [run.index for run in runs]
                if len(indexes) == 1:
                    indexes = [*range(indexes[0], min(indexes[0] + FILES_AHEAD, len(self._rows)))]
                ids = [self._ledger["id_run"][self._rows[index]] for index in indexes]
                self._files |= {key: {} for key in ids} | self._read_files(ids)
            return {run.id_run: self._files[run.id_run] for run in runs}

    def _params_of(self, index: int) -> Params:
        return Params(self._params()[self._rows[index]])

    def _fields_of(self, index: int) -> Namespace:
        """Return the fields of a run, the large ones of which are not kept here."""
        fields = Namespace(
            zip(self._keys, [column[index] for column in self._columns], strict=True)
        )
        for key in self._sparse:
            if fields[key] is MISSING:
                del fields[key]
        for column in self._large:
            column[index] = None
        return fields

    @cached_property
    def _sparse(self) -> list[str]:
        """Keys of the fields that some runs do not have."""
        columns = zip(self._keys, self._columns, strict=True)
        mixed = [(key, column) for key, column in columns if not isinstance(column, array)]
        return [key for key, column in mixed if any(value is MISSING for value in column)]

    def _ledger_of(self, index: int) -> LedgerEntry:
        row, dialect = self._rows[index], self._dialect
        state, steps, *rest = [own.value(cells[row], dialect) for own, cells in self._entries]
        entry = LedgerEntry(state, self._steps[steps].copy(), *rest)
        if entry.steps or entry.step is not None:
            entry.stored = partial(self._executed, self._ledger["id_run"][row])
        return entry

    def _executed(self, id_run: str) -> dict[str, StepEntry]:
        """Return the entries of a run's steps; the first call reads those of all runs."""
        return self._executions().get(id_run, {})
