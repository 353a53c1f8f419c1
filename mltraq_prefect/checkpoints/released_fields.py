"""Fields that are only in the database: they are read when they are used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from mltraq_prefect.errors import StoreError
from mltraq_prefect.model.files import Listed
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.series import Placed
from mltraq_prefect.storage import Record, Snapshot, Store

RUNS_AT_ONCE = 500
"""Number of runs that are read at once."""

OnRead = Callable[[Snapshot, str], None]
"""Called with what was read of runs, and the id of one of them."""


class ReleasedFields:
    """Source of the fields that are only in the database; threads may use it.

    Args:
        store: The database.
        experiment: Name of the experiment.
        runs: Its runs; when the fields of a run are used, those of the next runs are read, too.
        on_read: Called for each run whose fields are in memory again.
    """

    parts = frozenset(("fields",))
    reads = True

    def __init__(self, store: Store, experiment: str, runs: Runs, on_read: OnRead) -> None:
        self.lock = threading.Lock()
        self._store = store
        self._experiment = experiment
        self._runs = runs
        self._on_read = on_read
        self._fetched: dict[str, Namespace] = {}
        self._snapshot: Snapshot | None = None
        self._order: list[str] = []
        self._positions: dict[str, int] = {}

    def release(self, runs: Iterable[Run]) -> None:
        """Release fields and locals of runs from memory; the database has the fields."""
        for run in runs:
            with self.lock:
                self._fetched.pop(run.id_run, None)
            if not self.has(run):
                run.defer(self)
                run.locals = Namespace()
            run.release_rows()
            run.release_files()

    def rename(self, experiment: str) -> None:
        """Read from the database by another name of the experiment."""
        self._experiment = experiment

    def has(self, run: Run) -> bool:
        """Return whether the fields of a run are only in the database."""
        return run.awaits("fields", self)

    def make(self, _part: str, run: Run) -> Namespace:
        """Return the fields of a run; they stay in memory from now on."""
        if run.id_run not in self._fetched:
            self._fetch(self._following(run))
        if run.id_run not in self._fetched:
            raise StoreError(
                f"experiment {self._experiment!r}, run {run.describe()}: its fields were in the "
                "database alone, and it was deleted there; execute the experiment again"
            )
        fields = self._fetched.pop(run.id_run)
        if self._snapshot is not None:
            self._on_read(self._snapshot, run.id_run)
        return fields

    def logged(self, ids: Sequence[str]) -> Mapping[str, Sequence[Placed]]:
        """Return the rows of the series of runs, by `id_run`."""
        return self._store.series(self._experiment, None, ids)

    def files(self, runs: Sequence[Run]) -> Mapping[str, Listed]:
        """Return the files that the database has of runs, by `id_run`."""
        return self._store.files(self._experiment, None, [run.id_run for run in runs])

    def refresh(self, runs: Iterable[Run]) -> None:
        """Call `on_read` with what the database holds of runs; leave their fields as they are."""
        ids = [run.id_run for run in runs]
        for start in range(0, len(ids), RUNS_AT_ONCE):
            record = self._read(ids[start : start + RUNS_AT_ONCE])
            if (snapshot := record.snapshot) is not None:
                for run in record.runs:
                    self._on_read(snapshot, run.id_run)

    def _following(self, run: Run) -> list[str]:
        """Return the ids of a run and of the next ones whose fields are released."""
        if self._runs.get(run.id_run) is not run:
            return [run.id_run]
        if len(self._positions) != len(self._runs) or run.id_run not in self._positions:
            self._order = list(self._runs)
            self._positions = {id_run: position for position, id_run in enumerate(self._order)}
        following = islice(self._order, self._positions[run.id_run], None)
        return list(
            islice((id_run for id_run in following if self._is_released(id_run)), RUNS_AT_ONCE)
        )

    def _is_released(self, id_run: str) -> bool:
        return id_run in self._runs and self.has(self._runs[id_run])

    def _fetch(self, ids: Sequence[str]) -> None:
        record = self._read(ids)
        self._fetched = {run.id_run: run.fields for run in record.runs}
        self._snapshot = record.snapshot

    def _read(self, ids: Sequence[str]) -> Record:
        return self._store.read(self._experiment, ids=ids)
