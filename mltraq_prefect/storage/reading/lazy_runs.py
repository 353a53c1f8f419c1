"""Runs that were read: kept in columns, each made when somebody asks for it."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, overload

from mltraq_prefect.model.frames import LEDGER_SHOWN, columns_of, frame_of_columns
from mltraq_prefect.model.ledger_entry import RUN_COLUMNS, LedgerEntry, StepEntry
from mltraq_prefect.model.loaded_runs import RunsInColumns
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.params import Params
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.series import MISSING, Placed
from mltraq_prefect.storage.files.file_reader import FilesOfRuns, ReadFiles
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables.ledger import LEDGER_COLUMNS
from mltraq_prefect.storage.tables.ledger_columns import LedgerColumn
from mltraq_prefect.storage.tables.run_steps import Executions
from mltraq_prefect.storage.values.columns import picked

if TYPE_CHECKING:
    import pandas as pd

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
        ids: Their ids.
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
        ids: Sequence[str],
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
        self.ids = ids
        self._keys = tuple(fields)
        own = {key: list(fields[key]) for key in large}
        self._columns = tuple((dict(fields) | own).values())
        self._large = list(own.values())
        self._make_params = params
        self._ledger = ledger
        self._steps = steps
        self._rows = rows
        self._read_executions = executions
        self.logged = logged
        self._read_files = files
        self._files: FilesOfRuns = {}

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
                ids = [self.ids[index] for index in indexes]
                self._files |= {key: {} for key in ids} | self._read_files(ids)
            return {run.id_run: self._files[run.id_run] for run in runs}

    def _params_of(self, index: int) -> Params:
        return Params(self._params[self._rows[index]])

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
    def _params(self) -> Sequence[Mapping[str, Any]]:
        return self._make_params()

    @cached_property
    def _entries(self) -> list[tuple[LedgerColumn, Sequence[Any]]]:
        return [(LEDGER_COLUMNS[name], self._ledger[name]) for name in RUN_COLUMNS]

    @cached_property
    def _executions(self) -> Executions:
        return self._read_executions()

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
            entry.stored = partial(self._executed, self.ids[index])
        return entry

    def _executed(self, id_run: str) -> dict[str, StepEntry]:
        """Return the entries of a run's steps; the first call reads those of all runs."""
        return self._executions.get(id_run, {})

    def field_columns(self, order: Sequence[int]) -> dict[str, Sequence[Any]]:
        """Return the values of each field that some run has, None where one does not have it.

        Args:
            order: Indexes of the runs.
        """
        found: dict[str, tuple[int, Sequence[Any]]] = {}
        for key, cells in zip(self._keys, self._columns, strict=True):
            (own,) = picked([cells], order)
            first = 0
            if key in self._sparse:
                there = (index for index, value in enumerate(own) if value is not MISSING)
                first = next(there, len(own))
                own = [None if value is MISSING else value for value in own]
            if first < len(own):
                found[key] = first, own
        return {key: own for key, (_, own) in sorted(found.items(), key=lambda item: item[1][0])}

    def params_of(self, order: Sequence[int]) -> list[dict[str, Any]]:
        """Return the params of runs, given by their indexes."""
        params = self._params
        return [dict(params[self._rows[index]]) for index in order]

    def facts(self, name: str, order: Sequence[int]) -> Sequence[Any]:
        """Return what the ledger says of runs, given by their indexes, in one of its columns."""
        rows = self._rows if isinstance(order, range) else [self._rows[index] for index in order]
        (cells,) = picked([self._ledger[name]], rows)
        return LEDGER_COLUMNS[name].values(cells, self._dialect)


class StoredColumns(RunsInColumns):
    """The runs that were read, in their order.

    Args:
        source: Makes their parts.
        order: The indexes in the order of the runs.
    """

    def __init__(self, source: StoredRuns, order: Sequence[int]) -> None:
        self._source = source
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...
    def __getitem__(self, index: int | slice) -> Run | list[Run]:
        return self._runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    @cached_property
    def _runs(self) -> list[Run]:
        source = self._source
        runs = list(map(Run.stored, source.ids, repeat(source), range(len(source.ids))))
        return runs if isinstance(self._order, range) else [runs[index] for index in self._order]

    def frame(self, *, params: bool, ledger: bool) -> pd.DataFrame:
        """Return the frame of runs as they were read; see `Runs.df`."""
        source, order = self._source, self._order
        own = columns_of(source.params_of(order)) if params else {}
        facts = {name: source.facts(name, order) for name in LEDGER_SHOWN} if ledger else {}
        (ids,) = picked([source.ids], order)
        return frame_of_columns(ids, own, source.field_columns(order), facts)
