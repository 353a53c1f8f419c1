"""What is known of an experiment whose grid is streamed: the runs that are being executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mltraq_prefect.checkpoints.content import Content
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.model.streamed_grid import StreamedGrid
from mltraq_prefect.storage import Mode, Record, Snapshot, Store


class Window:
    """What of an experiment is in memory while its grid is streamed: the runs that are executed.

    Args:
        experiment: The experiment.
        grid: Makes its runs.

    Attributes:
        grid: As given.
        runs: The runs that are in memory.
    """

    def __init__(self, experiment: Content, grid: StreamedGrid) -> None:
        self._experiment = experiment
        self.grid = grid
        self.runs = Runs()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self._experiment.name

    @property
    def fields(self) -> Namespace:
        """What is tracked of the experiment as a whole."""
        return self._experiment.fields

    @property
    def tags(self) -> dict[str, str]:
        """Texts that people have given it, by name."""
        return self._experiment.tags

    @property
    def note(self) -> str:
        """A text that tells people of it."""
        return self._experiment.note


class StreamedState(StoredState):
    """State in the database of an experiment whose grid is streamed.

    Args:
        store: The database.
        record: That of a new experiment.
        window: What of the experiment is in memory.

    Attributes:
        window: As given.
    """

    def __init__(self, store: Store, record: Record, window: Window) -> None:
        super().__init__(store, record, lambda: window)
        self.window = window

    @property
    def run_count(self) -> int:
        """Number of runs of the experiment, in memory or not."""
        return len(self.window.grid)

    def adopt_new(self, entries: Mapping[str, LedgerEntry], snapshot: Snapshot) -> None:
        """Adopt runs that were listed here a moment ago: there are neither fields nor steps.

        Args:
            entries: Their ledger entries by `id_run`.
            snapshot: What was read of them.
        """
        for id_run, entry in entries.items():
            entry.stored = None
            self.window.runs[id_run].ledger = entry
            self._remember(snapshot, id_run)

    def forget(self, runs: Iterable[Run]) -> None:
        """Let go of runs that are in the database: this process does not know of them any more."""
        snapshot = self._snapshot
        for run in runs:
            self.window.runs.pop(run.id_run, None)
            if snapshot is not None:
                snapshot.forget(run.id_run)

    def check_persist(self, mode: Mode, *, store_pickle: bool) -> None:
        """Refuse to persist what is not in memory.

        Raises:
            InvalidInput: Nothing was executed yet, or an option needs all runs.
        """
        subject = f"experiment {self.window.name!r}: its {self.run_count:,} runs are streamed"
        if self.revision is None:
            raise InvalidInput(f"{subject}: execute(steps, checkpoint=True) lists and writes them")
        if mode != "merge" or store_pickle:
            what = "store_pickle=True" if store_pickle else f"if_exists={mode!r}"
            raise InvalidInput(
                f'{subject}, and {what} would write all of them from memory: use "merge", which '
                "writes the fields of the experiment and leaves its runs as they are"
            )
