"""The part of a run that is about its series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.logged_rows import all_logged, refuse_gone
from mltraq_prefect.model.series import OwnRows, Placed, RowLog, own_rows_of
from mltraq_prefect.model.series_frames import frame_of_series

if TYPE_CHECKING:
    import pandas as pd

    from mltraq_prefect.model.run import Run


class WithSeries:
    """A run as what logs rows."""

    __slots__ = ("_log", "_own_rows")

    _log: RowLog | None
    _own_rows: OwnRows | None

    if TYPE_CHECKING:

        def describe(self) -> str:
            """Return a description of the run for people."""

    def log(self, step: int | None = None, **values: Any) -> None:
        """Add a row to the series of the run, while a step is executed.

        Each row has a sequence number and the time, too. With checkpoints it is in the database
        within a second, else when the run is written. The rows of a step that is tried again are
        replaced.

        Args:
            step: What the row is about, such as the number of an epoch; or None.
            **values: Scalars by name: numbers, truth values, text, dates and times.

        Raises:
            InvalidInput: A value is no scalar, a key is reserved, or no step of the run is being
                executed in this process.

        Examples:
            >>> from mltraq_prefect import create_session
            >>> experiment = create_session("sqlite://").add_experiment("halves")
            >>> with experiment.run() as run:
            ...     for epoch in range(3):
            ...         run.log(epoch, loss=0.5**epoch)
            >>> run.series[["seq", "step", "loss"]].values.tolist()
            [[0.0, 0.0, 1.0], [1.0, 1.0, 0.5], [2.0, 2.0, 0.25]]
        """
        if self._log is None:
            raise InvalidInput(
                "run.log is for steps, while they are executed: no step of run "
                f"{self.describe()} is being executed here"
            )
        self._log.log(step, values)

    def log_to(self, log: RowLog | None) -> None:
        """Say where rows go; None ends that.

        Args:
            log: Takes them.
        """
        self._log = log

    @property
    def series(self) -> pd.DataFrame:
        """The rows that steps have logged: columns `seq`, `step`, `at`, and one a key.

        `seq` numbers the rows of the run, `at` is the time (UTC). Dtypes are those of `Runs.df`; a
        row without the key is missing.

        Raises:
            InvalidInput: It is asked for in a step: rows are sent away as they are logged.
            StoreError: The run has been deleted from the database, which alone had its rows.
        """
        if self._log is not None and self._own_rows is None:
            raise InvalidInput(
                f"run {self.describe()}: its series can be read when its step has ended, of the "
                "run in its experiment; a step keeps what it needs of its rows by itself"
            )
        if self._log is not None:
            self._log.flush()
        placed = self.logged()
        if not placed:
            refuse_gone([cast("Run", self)], "series")
        return frame_of_series(placed)

    @property
    def own_rows(self) -> OwnRows:
        """The logged rows of the run that are in memory."""
        if self._own_rows is None:
            self._own_rows = OwnRows()
        return self._own_rows

    def row_changes(self) -> int:
        """Return how often the logged rows in memory have changed."""
        return 0 if self._own_rows is None else self._own_rows.changes

    def release_rows(self) -> None:
        """Drop logged rows from memory: the database has them."""
        self._own_rows = None

    def logged(self) -> list[Placed]:
        """Return the rows of the series, from memory and from the database."""
        ((_, placed),) = all_logged([cast("Run", self)])
        return placed

    def copy_rows(self, placed: list[Placed]) -> None:
        """Take over the series of another run.

        Args:
            placed: Its rows.
        """
        if placed:
            self._own_rows = own_rows_of(placed)
