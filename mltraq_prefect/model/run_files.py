"""The part of a run that is about its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mltraq_prefect.model.files import FileDesk, Files, Listed, OwnFiles, linked
from mltraq_prefect.model.logged_rows import all_files, refuse_gone
from mltraq_prefect.model.run_series import WithSeries
from mltraq_prefect.model.spool import FileEntry

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run


class WithFiles(WithSeries):
    """A run as what has files."""

    __slots__ = ("_own_files", "file_desk")

    _own_files: OwnFiles | None
    file_desk: FileDesk | None

    @property
    def files(self) -> Files:
        """The files of the run by name, such as models: set as bytes or path, read as `File`.

        Content is copied when it is set. It is stored with the run: in the database, or in the
        location that `create_session` was given. What a failed step has set is dropped. Nothing
        is ever unpickled.

        Examples:
            >>> from mltraq_prefect import create_session
            >>> session = create_session("sqlite://")
            >>> experiment = session.add_experiment("models")
            >>> with experiment.run() as run:
            ...     run.files["weights.bin"] = bytes(1000)
            >>> _ = experiment.persist()
            >>> stored = session.load("models").runs.first()
            >>> stored.files["weights.bin"].path().stat().st_size
            1000
        """
        return Files(cast("Run", self))

    @property
    def own_files(self) -> OwnFiles:
        """What is in memory of the files of the run."""
        if self._own_files is None:
            self._own_files = OwnFiles()
        return self._own_files

    def listed_files(self) -> dict[str, FileEntry]:
        """Return the files of the run by name, from memory and from the database."""
        ((_, listed),) = all_files([cast("Run", self)])
        return listed

    def named_files(self) -> dict[str, FileEntry]:
        """Return the files of the run, as people ask for them.

        Raises:
            StoreError: The run has been deleted from the database, which alone had them.
        """
        listed = self.listed_files()
        if not listed:
            refuse_gone([cast("Run", self)], "files")
        return listed

    def file_changes(self) -> int:
        """Return how often the files in memory have changed."""
        return 0 if self._own_files is None else self._own_files.changes

    def copy_files(self, listed: Listed) -> None:
        """Take over the files of another run.

        Args:
            listed: Its files by name.
        """
        if listed:
            self._own_files = OwnFiles(linked(listed))

    def release_files(self) -> None:
        """Drop files from memory and from this machine: the database has them."""
        if self._own_files is not None:
            self._own_files.drop_new()
            self._own_files = None
