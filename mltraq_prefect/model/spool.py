"""Contents of files on this machine, in a temporary folder that goes with its process.

What a step gives a run is copied here, and from here to the database. Copies of stored files are
here as well, checked each time that somebody asks for one.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from mltraq_prefect.errors import CorruptData, InvalidInput, StorageFull
from mltraq_prefect.model.file_names import is_file_name

PIECE_BYTES = 1 << 20
"""Contents are read, sent and stored in pieces of so many bytes."""

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of errors that say that there is no room for a file."""

_PREFIX = "mltraq-files-"
_LOCK = "lock"
_SHA256 = re.compile("[0-9a-f]{64}")
_KEY = re.compile("[0-9a-f]{32}")

Pieces = Callable[[], Iterator[bytes]]
"""Reads a content, piece by piece."""


class FileEntry(NamedTuple):
    """What is known of a file of a run.

    Attributes:
        size: Its size in bytes.
        sha256: The SHA-256 of its content, in hexadecimal digits.
        spooled: Path of its content on this machine; empty if it is somewhere else.
        pieces: Reads it from there; None if this process does not know how.
    """

    size: int
    sha256: str
    spooled: str = ""
    pieces: Pieces | None = None

    def sendable(self) -> FileEntry:
        """Return what another process can be told of it."""
        return self._replace(pieces=None)


class Spool:
    """A folder with contents of files; several processes may use it.

    Args:
        folder: The folder.
        drafts: Marks what is put here until it is kept, so that it can be dropped if the process
            that has put it is killed; empty if all is kept from the beginning.
    """

    def __init__(self, folder: str, drafts: str = "") -> None:
        self.folder = folder
        self._drafts = drafts

    def of_worker(self) -> Spool:
        """Return the same folder for a worker process, which may be killed."""
        return Spool(self.folder, f"{secrets.token_hex(8)}.")

    def kept(self, entry: FileEntry) -> FileEntry:
        """Return an entry whose content is no draft any more."""
        path = Path(entry.spooled)
        if not self._drafts or not path.name.startswith(self._drafts):
            return entry
        return entry._replace(spooled=str(path.rename(path.with_name(secrets.token_hex(16)))))

    def drop_drafts(self) -> None:
        """Drop what a worker process has put here that is dead, and has not kept it."""
        if self._drafts:
            for path in Path(self.folder, "contents").glob(f"{self._drafts}*"):
                path.unlink(missing_ok=True)

    def put(self, name: str, value: object, limit: int | None) -> FileEntry:
        """Copy a content into the folder.

        Args:
            name: Name of the file, for errors.
            value: Its bytes, or the path of a file.
            limit: Most bytes that it can have; None is any.

        Raises:
            InvalidInput: It cannot be read, changes meanwhile, or is too large.
            StorageFull: There is no room for it on this machine.
        """
        if isinstance(value, (bytes, bytearray, memoryview)):
            content = memoryview(value).cast("B")
            _check_size(name, len(content), limit)
            starts = range(0, len(content), PIECE_BYTES)
            return self._write(
                name, (bytes(content[at : at + PIECE_BYTES]) for at in starts), len(content)
            )
        if not isinstance(value, (str, os.PathLike)):
            raise InvalidInput(
                f"run.files[{name!r}] is of type {type(value).__name__}; give bytes, or the path "
                "of a file that you have written, such as by joblib.dump"
            )
        return self._copy(name, Path(value), limit)

    def _copy(self, name: str, path: Path, limit: int | None) -> FileEntry:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
                kind = "a directory: make an archive of it" if path.is_dir() else "no regular file"
                raise InvalidInput(f"run.files[{name!r}]: {path} is {kind}")
            with path.open("rb") as file:
                before = os.fstat(file.fileno())
                _check_size(name, before.st_size, limit)
                entry = self._write(name, pieces_of(file), before.st_size)
                after = os.fstat(file.fileno())
        except InvalidInput:
            raise
        except (OSError, ValueError) as error:  # a ValueError: no path has such characters
            reason = getattr(error, "strerror", None) or error
            raise InvalidInput(f"run.files[{name!r}]: {path} cannot be read: {reason}") from None
        if entry.size != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
            Path(entry.spooled).unlink(missing_ok=True)
            raise InvalidInput(
                f"run.files[{name!r}]: {path} has changed while it was read; close the file first, "
                "and wait for what writes it"
            )
        return entry

    def _write(self, name: str, pieces: Iterator[bytes], size: int) -> FileEntry:
        """Write pieces into a new file; `size` is how many bytes there ought to be."""
        path = Path(self.folder, "contents", self._drafts + secrets.token_hex(16))
        with self._making(path, name, size):
            digest, total = hashlib.sha256(), 0
            with path.open("xb") as file:
                for piece in pieces:
                    digest.update(piece)
                    total += len(piece)
                    file.write(piece)
        return FileEntry(total, digest.hexdigest(), str(path))

    def add(self, key: str, name: str, start: int, piece: bytes, size: int) -> str:
        """Add a piece to a content that comes from another machine; return its path.

        Args:
            key: Names the content: 32 hexadecimal digits.
            name: Name of the file, for errors.
            start: Position of the piece: at the end of what there is.
            piece: The bytes.
            size: How many the content is going to have.

        Raises:
            CorruptData: It does not belong there.
            StorageFull: There is no room for it on this machine.
        """
        path = Path(self.folder, "contents", key)
        if not _KEY.fullmatch(key) or (start and path.stat().st_size != start):
            raise CorruptData(f"pieces of file {name!r} did not arrive in order")
        with self._making(path, name, size - start), path.open("ab" if start else "xb") as file:
            file.write(piece)
        return str(path)

    @contextlib.contextmanager
    def _making(self, path: Path, name: str, size: int) -> Iterator[None]:
        """Make a file; if that fails, nothing of it is left."""
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            free = shutil.disk_usage(path.parent).free
            if size > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield
        except BaseException as error:
            path.unlink(missing_ok=True)
            if not isinstance(error, OSError):
                raise
            if error.errno in NO_ROOM:
                raise StorageFull(
                    f"file {name!r} of {size:,} bytes does not fit into {self.folder}, where it is "
                    "kept until it is written; make room there, or set TMPDIR to another folder"
                ) from None
            if not Path(self.folder).is_dir():
                raise InvalidInput(
                    f"file {name!r} cannot be kept for the flow: its folder {self.folder} is not "
                    "on this machine. Workers on other machines need a TMPDIR that all of them "
                    "share with the flow"
                ) from None
            raise

    def linked(self, entry: FileEntry) -> FileEntry:
        """Return an entry with another path of the same content, if it is on this machine."""
        if not entry.spooled:
            return entry
        path = Path(self.folder, "contents", secrets.token_hex(16))
        path.parent.mkdir(mode=0o700, exist_ok=True)
        try:
            path.hardlink_to(entry.spooled)
        except FileNotFoundError:  # `local` says it, if somebody asks for the content
            return entry
        except OSError:  # another file system, or one without links
            shutil.copyfile(entry.spooled, path)
        return entry._replace(spooled=str(path))

    def local(self, name: str, entry: FileEntry) -> Path:
        """Return the path of a copy of a file, which has its name and its content.

        Args:
            name: Name of the file.
            entry: What is known of it.

        Raises:
            CorruptData: The content is not what it was, or is gone.
            StorageFull: There is no room for it on this machine.
        """
        if not (_SHA256.fullmatch(entry.sha256) and is_file_name(name)):  # a database says so
            raise CorruptData(f"file {name!r} has a name or a digest that no file has")
        folder = Path(self.folder, "copies", entry.sha256)
        path = folder / PurePosixPath(name).name
        if digest_of(path) == entry.sha256:
            return path
        if not (entry.spooled or entry.pieces):
            raise CorruptData(
                f"the content of file {name!r} was in a temporary folder of the process that has "
                "made it, which is gone; load the experiment from its database"
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = folder / f".{secrets.token_hex(16)}"
        self._draft(draft, name, entry)
        if digest_of(draft) != entry.sha256:
            draft.unlink()
            raise CorruptData(f"file {name!r} has another content than was written")
        if os.name != "nt":  # which does not delete what is read-only
            draft.chmod(0o400)
        try:
            draft.replace(path)
        except PermissionError:  # Windows replaces no file that another thread reads
            draft.unlink()
            if digest_of(path) != entry.sha256:
                raise
        return path

    def _draft(self, draft: Path, name: str, entry: FileEntry) -> None:
        if entry.spooled:
            try:
                shutil.copyfile(entry.spooled, draft)
            except FileNotFoundError:
                raise CorruptData(
                    f"the content of file {name!r} was in {entry.spooled}, and somebody has "
                    "deleted it; load the experiment from its database"
                ) from None
        elif entry.pieces is not None:
            with self._making(draft, name, entry.size), draft.open("xb") as file:
                for piece in entry.pieces():
                    file.write(piece)


def pieces_of(file: IO[bytes]) -> Iterator[bytes]:
    """Read a file piece by piece."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def _check_size(name: str, size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise InvalidInput(
            f"run.files[{name!r}] has {size:,} bytes; a database takes files of up to {limit:,}: "
            'give create_session(url, files="s3://bucket/folder") a location for files, which may '
            "be a folder that all machines share, or leave some of it out"
        )


def digest_of(path: Path) -> str | None:
    """Return the SHA-256 of a file's content in hexadecimal digits; None if it is not there."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


# -- the spool of this process -------------------------------------------------------------------


class _OwnSpool:
    """The spool of this process, which is made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spool: Spool | None = None
        self._held: IO[Any] | None = None
        self._pid = 0

    def get(self) -> Spool:
        with self._lock:
            if self._spool is None or self._pid != os.getpid():
                remove_abandoned()
                folder, self._held = _made()
                self._spool, self._pid = Spool(folder), os.getpid()
            return self._spool

    def remove(self) -> None:
        if self._spool is not None and self._pid == os.getpid():
            shutil.rmtree(self._spool.folder, ignore_errors=True)
            self._spool = None
            if self._held is not None:
                self._held.close()


_own = _OwnSpool()
own_spool = _own.get
"""Returns the spool of this process."""

atexit.register(_own.remove)


def _made() -> tuple[str, IO[Any] | None]:
    """Make a folder, and hold it: another process may take it for abandoned before it is held."""
    while True:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        with contextlib.suppress(FileNotFoundError):
            held = _held(Path(folder))
            if held is None or (Path(folder) / _LOCK).exists():
                return folder, held
            held.close()


def _held(folder: Path, *, wait: bool = True) -> IO[Any] | None:
    """Hold a folder as long as this process lives; return None if another one does."""
    try:
        import fcntl
    except ImportError:  # where there are no such locks, nobody looks for abandoned folders
        return None
    file = (folder / _LOCK).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        file.close()
        return None
    return file


def remove_abandoned() -> int:
    """Remove folders of processes that were killed; return how many there were."""
    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            is_own = folder.is_dir() and folder.stat().st_uid == os.getuid()
            if not is_own or not (folder / _LOCK).exists():
                continue
            held = _held(folder, wait=False)
        except (OSError, AttributeError):  # gone meanwhile, or on Windows
            continue
        if held is not None:
            with held:
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
    return count
