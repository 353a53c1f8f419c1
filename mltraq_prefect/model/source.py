"""Sources of parts of runs that are not in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from mltraq_prefect.model.series import Placed
from mltraq_prefect.model.spool import FileEntry

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run


class Source(Protocol):
    """Makes parts of runs that are not in memory.

    Attributes:
        parts: Names of the parts that it makes, such as ``fields``.
        reads: Whether it reads the database for that.
    """

    parts: frozenset[str]
    reads: bool

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while a part of a run is made, so that it is made once."""

    def make(self, part: str, run: Run) -> Any:
        """Return a part of a run; the source does not keep it.

        Args:
            part: Name of the part.
            run: The run; `run.index` is its row number in the source.
        """

    def logged(self, ids: Sequence[str]) -> Mapping[str, Sequence[Placed]]:
        """Return the rows that the database has of the series of runs, by `id_run`.

        Args:
            ids: Their `id_run`.
        """

    def files(self, runs: Sequence[Run]) -> Mapping[str, Mapping[str, FileEntry]]:
        """Return the files that the database has of runs, by `id_run` and name.

        Args:
            runs: The runs.
        """
