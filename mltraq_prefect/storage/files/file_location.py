"""A location of files outside of the database: a folder, or a bucket of an object store."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mltraq_prefect.arguments import refused
from mltraq_prefect.errors import CorruptData, InvalidInput, StorageFull, StoreError
from mltraq_prefect.model.spool import NO_ROOM, PIECE_BYTES

_KEY = re.compile(r"[0-9a-f-]{36}/[0-9a-f]{64}-[0-9a-f]{32}")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]*@")
"""Wherever it is: URLs of fsspec may be chained."""


class Location:
    """Where contents of files are kept; safe to use from several threads.

    Each content is an object of its own, whose name is never used again. So an object that is
    removed can be missed by nobody who writes the same content meanwhile.

    Args:
        url: What fsspec understands, such as ``s3://bucket/folder``, or the path of a folder.

    Attributes:
        url: The same, as it is told.

    Raises:
        InvalidInput: It has a password, or there is no such kind of location here.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        text = os.fspath(url) if isinstance(url, str | os.PathLike) else None
        if not isinstance(text, str) or not text or "\0" in text:
            raise refused("files", url, "a folder, or a URL such as s3://bucket/x")
        if "://" not in text:
            text = str(Path(text).absolute())
        elif _PASSWORD.search(text):
            raise InvalidInput(
                "the location of files has a password in its URL, which the database would keep; "
                "give credentials by environment variables, or the configuration of fsspec"
            )
        self.url = text.rstrip("/")
        self._fs, self._root = _opened(text)

    def __repr__(self) -> str:
        return f"Location({self.url!r})"

    def identity(self) -> str | None:
        """Return what tells it from others of this URL; None if no other process reaches it."""
        kinds = self._fs.protocol
        kinds = {kinds} if isinstance(kinds, str) else {*kinds}
        if "memory" in kinds:
            return None
        return socket.gethostname() if kinds & {"file", "local"} else ""

    def new_place(self, id_experiment: str, sha256: str) -> str:
        """Return where the next content of an experiment can be kept."""
        return f"{self.url}/{id_experiment}/{sha256}-{secrets.token_hex(16)}"

    def put(self, place: str, path: str, sha256: str) -> None:
        """Copy a content from this machine; if that fails, nothing of it is left.

        Raises:
            CorruptData: It is not what it was.
            StorageFull: There is no room for it.
            StoreError: The location cannot be written.
        """
        try:
            self._copy(place, path, sha256)
        except Exception:
            with suppress(StoreError):
                self.remove(place)
            raise

    def _copy(self, place: str, path: str, sha256: str) -> None:
        digest = hashlib.sha256()
        with (
            self._translated("written"),
            Path(path).open("rb") as source,
            self._opened_to_write(self._path(place)) as file,
        ):
            while piece := source.read(PIECE_BYTES):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            raise CorruptData(f"the content in {path} has changed since a step has set it")

    def _opened_to_write(self, target: str) -> Any:
        for left in reversed(range(5)):
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            try:
                return self._fs.open(target, "wb")
            except FileNotFoundError:  # who has removed the last object, has removed the folder
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")

    def pieces(self, place: str) -> Iterator[bytes]:
        """Yield a content.

        Raises:
            CorruptData: It is not there.
            StoreError: The location cannot be read.
        """
        try:
            with self._translated("read"), self._fs.open(self._path(place), "rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except FileNotFoundError:
            was = "" if self._is_in(place) else f"; it was written to {place.rsplit('/', 2)[0]}"
            raise CorruptData(f"its content is not in {self.url} any more{was}") from None

    def size(self, place: str) -> int | None:
        """Return the bytes of a content; None if it is not there."""
        try:
            with self._translated("read"):
                found: int = self._fs.size(self._path(place))
                return found
        except FileNotFoundError:
            return None

    def may_have(self, place: str) -> bool:
        """Return whether a content is here, or would be; others have locations of their own."""
        return self._is_in(place) or self.size(place) is not None

    def _is_in(self, place: str) -> bool:
        return place.startswith(f"{self.url}/")

    def remove(self, place: str) -> None:
        """Remove a content, if it is there.

        Raises:
            StoreError: The location cannot be written.
        """
        path = self._path(place)
        with suppress(FileNotFoundError), self._translated("written"):
            self._fs.rm_file(path)
        with suppress(Exception):  # an empty folder, where there are folders
            self._fs.rmdir(path.rpartition("/")[0])

    def _path(self, place: str) -> str:
        """Return the path of an object.

        What a database says of places is input: only the name of the object counts.
        """
        key = "/".join(place.rsplit("/", 2)[-2:])
        if not _KEY.fullmatch(key):
            raise CorruptData(f"its place {place!r:.200} is none that is written")
        return f"{self._root.rstrip('/')}/{key}"

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (CorruptData, FileNotFoundError, GeneratorExit):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise StorageFull(
                    f"there is no room in the location {self.url} of files, and nothing was "
                    f"written: {error}"
                ) from None
            raise StoreError(
                f"the location {self.url} of files cannot be {what}: "
                f"{type(error).__name__}: {error}"
            ) from None


def _opened(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # type: ignore[import-untyped]

    try:
        fs, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InvalidInput(f"the location {url} of files cannot be used: {error}") from None
    except Exception as error:
        raise StoreError(
            f"the location {url} of files cannot be opened: {type(error).__name__}: {error}"
        ) from None
    return fs, root
