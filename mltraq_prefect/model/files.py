"""Files of a run, as steps and programs use them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.model import html
from mltraq_prefect.model.file_names import check_file_name
from mltraq_prefect.model.series import next_change
from mltraq_prefect.model.spool import FileEntry, Spool, own_spool

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run

Listed = Mapping[str, FileEntry]
"""Files by name."""


class FileDesk(Protocol):
    """Where a run puts contents of files, and gets those that it does not have."""

    @property
    def spool(self) -> Spool:
        """Where contents are put."""

    @property
    def limit(self) -> int | None:
        """Most bytes that a file can have; None is any."""

    def listed(self, id_run: str) -> Listed:
        """Return the files of a run that are stored."""

    def fetch(self, id_run: str, name: str, entry: FileEntry) -> Path:
        """Return the path of a copy of a file."""


class OwnFiles:
    """What is in memory of the files of one run: those that were set, and which were deleted.

    Attributes:
        entries: The files by name; None stands for one that was deleted.
        changes: Another number after each change, which tells whether a database has them; 0 if
            there are none.
    """

    __slots__ = ("_before", "changes", "entries")

    def __init__(self, entries: Mapping[str, FileEntry | None] | None = None) -> None:
        self.entries = dict(entries or {})
        self.changes = next_change() if self.entries else 0
        self._before: frozenset[str] = frozenset()

    def begin(self, entries: Mapping[str, FileEntry | None]) -> None:
        """Take the files with which a step begins: if it fails, the next attempt needs them."""
        self.put(entries)
        self._before = frozenset(entry.spooled for entry in entries.values() if entry)

    def replace(self, name: str, entry: FileEntry | None) -> None:
        """Set or delete a file in a step; what the step itself had set there is dropped."""
        self._drop(self.entries.get(name))
        self.put({name: entry})

    def drop_new(self) -> None:
        """Drop the contents that a step has set, which has failed."""
        for entry in self.entries.values():
            self._drop(entry)

    def _drop(self, entry: FileEntry | None) -> None:
        if entry is not None and entry.spooled and entry.spooled not in self._before:
            Path(entry.spooled).unlink(missing_ok=True)

    def put(self, entries: Mapping[str, FileEntry | None]) -> None:
        """Set or delete files."""
        self.entries |= entries
        self.changes = next_change()

    def over(self, stored: Listed) -> dict[str, FileEntry]:
        """Return the files of the run, by name.

        Args:
            stored: Those that the database has.
        """
        both = {**stored, **self.entries}
        return {name: entry for name, entry in sorted(both.items()) if entry is not None}


def linked(listed: Listed) -> dict[str, FileEntry]:
    """Return files for another run: a content on this machine goes with its run."""
    return {name: own_spool().linked(entry) for name, entry in listed.items()}


class File:
    """A file of a run.

    Attributes:
        name (str): Its name: a relative path, such as ``model.joblib``.
        size (int): Its size in bytes.
        sha256 (str): The SHA-256 of its content, in hexadecimal digits.

    Examples:
        >>> from mltraq_prefect import create_session
        >>> session = create_session("sqlite://")
        >>> with session.add_experiment("notes").run() as run:
        ...     run.files["note.txt"] = b"It works."
        >>> run.files["note.txt"].path().read_text()
        'It works.'
    """

    __slots__ = ("_entry", "_run", "name")

    def __init__(self, run: Run, name: str, entry: FileEntry) -> None:
        self._run = run
        self._entry = entry
        self.name = name

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._entry.size

    @property
    def sha256(self) -> str:
        """The SHA-256 of its content, in hexadecimal digits."""
        return self._entry.sha256

    @property
    def entry(self) -> FileEntry:
        """What is known of it; internal."""
        return self._entry

    def path(self) -> Path:
        """Return the path of a copy on this machine, whose content was verified.

        It is read-only, has the suffix of the name, and goes when the program ends.

        Raises:
            CorruptData: What is stored is not what was written; names experiment, run and file.
            StorageFull: There is no room for it in the folder for temporary files.
            StoreError: The database, or the location of its files, cannot be read.
        """
        desk, entry = self._run.file_desk, self._entry
        if desk is None:
            return self.copied(own_spool())
        try:
            return desk.fetch(self._run.id_run, self.name, entry)
        except CorruptData as error:
            raise error.within(error.experiment, self._run.describe()) from None

    def copied(self, spool: Spool) -> Path:
        """Return the path of a verified copy in a spool, with which it goes; internal."""
        try:
            return spool.local(self.name, self._entry)
        except CorruptData as error:
            raise error.within(error.experiment, self._run.describe()) from None

    def open(self) -> IO[bytes]:
        """Return a stream of its bytes, which were verified; close it, or use ``with``.

        Raises:
            CorruptData, StorageFull, StoreError: As `path` does.
        """
        return self.path().open("rb")

    def __repr__(self) -> str:
        return f"File({self.name!r}, {self.size:,} bytes, sha256={self.sha256[:12]}...)"


class Files(MutableMapping[str, File]):
    """The files of a run by name: content is set as bytes or path, and read as a `File`.

    Examples:
        >>> from mltraq_prefect import create_session
        >>> with create_session("sqlite://").add_experiment("notes").run() as run:
        ...     run.files["a.txt"] = b"1"
        ...     run.files["b/c.txt"] = b"22"
        >>> [(name, file.size) for name, file in run.files.items()]
        [('a.txt', 1), ('b/c.txt', 2)]
    """

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def _listed(self) -> dict[str, FileEntry]:
        return self._run.named_files()

    def __getitem__(self, name: str) -> File:
        listed = self._listed()
        if name not in listed:
            known = ", ".join(map(repr, listed)) or "none"
            raise KeyError(f"run {self._run.describe()} has no file {name!r:.300}; it has {known}")
        return File(self._run, name, listed[name])

    def __setitem__(self, name: str, value: object) -> None:
        """Copy a content into the run: bytes, the path of a file, or a file of another run.

        Raises:
            InvalidName: No file can have this name.
            InvalidInput: The content cannot be read, changes while it is, or is too large.
            StorageFull: There is no room for it in the folder for temporary files.
        """
        check_file_name(name)
        desk = self._run.file_desk
        spool, limit = (own_spool(), None) if desk is None else (desk.spool, desk.limit)
        content = value.path() if isinstance(value, File) else value
        self._put(name, spool.put(name, content, limit))

    def __delitem__(self, name: str) -> None:
        _ = self[name]  # raises if there is none
        self._put(name, None)

    def _put(self, name: str, entry: FileEntry | None) -> None:
        own = self._run.own_files
        if self._run.file_desk is None:  # a copy of the run may have the content, too
            own.put({name: entry})
        else:
            own.replace(name, entry)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed())

    def __len__(self) -> int:
        return len(self._listed())

    def __contains__(self, name: object) -> bool:
        return name in self._listed()

    def __repr__(self) -> str:
        sizes = (f"{name!r}: {entry.size:,} bytes" for name, entry in self._listed().items())
        return f"Files({{{', '.join(sizes)}}})"

    def _repr_html_(self) -> str:
        return html.page(f"Files of run {self._run.describe()}", files_table(self._listed()))


def files_table(listed: Listed) -> str:
    """Return the table of files that notebooks show."""
    rows = [
        [html.shown(name), f"{entry.size:,}", entry.sha256[:12]] for name, entry in listed.items()
    ]
    left = len(rows) - html.MOST_ROWS
    more = [[f"{left:,} more", "", ""]] if left > 0 else []
    return html.table(["file", "bytes", "sha256"], rows[: html.MOST_ROWS] + more)
