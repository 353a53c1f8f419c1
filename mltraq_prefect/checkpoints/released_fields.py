"""Fields that are in the database and not in memory: read back when somebody asks for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from mltraq_prefect.errors import StoreError
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.records import Seen

CHUNK = 500
"""Runs that are written or read back at once."""

Remember = Callable[[str, str, Seen], None]
"""Gets the experiment's id, that of a run, and what the database holds of it."""


class ReleasedFields:
    """The fields of runs that are in the database alone: a `Source`; safe to use from threads.

    Args:
        store: The database.
        experiment: Name of the experiment.
        runs: Its runs; the neighbours of a run that is asked for are read with it.
        remember: Told of each run whose fields are in memory again.
    """

    parts = frozenset(("fields",))

    def __init__(self, store: Store, experiment: str, runs: Runs, remember: Remember) -> None:
        self.lock = threading.Lock()
        self._store = store
        self._experiment = experiment
        self._runs = runs
        self._remember = remember
        self._fetched: dict[str, tuple[Namespace, Seen]] = {}
        self._order: list[str] = []
        self._places: dict[str, int] = {}
        self._id_experiment = ""

    def take(self, runs: Iterable[Run]) -> None:
        """Release fields and locals of runs from memory; the database has the fields."""
        for run in runs:
            with self.lock:
                self._fetched.pop(run.id_run, None)
            if not self.has(run):
                run.defer(self)
                run.locals = Namespace()

    def has(self, run: Run) -> bool:
        """Return whether the fields of a run are in the database alone."""
        return run.awaits("fields", self)

    def make(self, _part: str, run: Run) -> Namespace:
        """Return the fields of a run, which stay in memory from now on."""
        if run.id_run not in self._fetched:
            self._fetch(self._from(run))
        if run.id_run not in self._fetched:
            raise StoreError(
                f"experiment {self._experiment!r}, run {run.describe()}: its fields were in the "
                "database alone, and it was deleted there; execute the experiment again"
            )
        fields, seen = self._fetched.pop(run.id_run)
        self._remember(self._id_experiment, run.id_run, seen)
        return fields

    def look_at(self, runs: Iterable[Run]) -> None:
        """Tell what the database holds of runs, whatever fields they have in memory."""
        ids = [run.id_run for run in runs]
        for start in range(0, len(ids), CHUNK):
            for id_run, (_, seen) in self._read(ids[start : start + CHUNK]):
                self._remember(self._id_experiment, id_run, seen)

    def _from(self, run: Run) -> list[str]:
        """Return a run and those after it of which the database alone has the fields."""
        if len(self._places) != len(self._runs):
            self._order = list(self._runs)
            self._places = {known: place for place, known in enumerate(self._order)}
        if self._runs.get(run.id_run) is not run:
            return [run.id_run]
        following = islice(self._order, self._places[run.id_run], None)
        return list(islice((known for known in following if self._is_away(known)), CHUNK))

    def _is_away(self, id_run: str) -> bool:
        return id_run in self._runs and self.has(self._runs[id_run])

    def _fetch(self, ids: Sequence[str]) -> None:
        self._fetched = dict(self._read(ids))

    def _read(self, ids: Sequence[str]) -> Iterator[tuple[str, tuple[Namespace, Seen]]]:
        record = self._store.read(self._experiment, ids=ids)
        self._id_experiment = record.id_experiment
        seen = {} if record.snapshot is None else record.snapshot.runs
        for run in record.runs:
            yield run.id_run, (run.fields, seen[run.id_run])
