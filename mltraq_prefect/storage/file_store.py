"""Files of stored runs: the part of `Store` that reads them, and removes what is left of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from mltraq_prefect.errors import CorruptData, StoreError
from mltraq_prefect.model.advance import Advance, unseen
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.spool import remove_abandoned
from mltraq_prefect.storage.access import Access
from mltraq_prefect.storage.files.file_location import Location
from mltraq_prefect.storage.files.file_reader import FileReader, FilesOfRuns
from mltraq_prefect.storage.tables import files, uploads
from mltraq_prefect.storage.tables.files import FILE_BYTES, StoredFile

_logger = logging.getLogger("mltraq_prefect")

UPLOADS_LOCK = "mltraq uploads"

_KEPT = (
    "%s files that nothing refers to any more stay in %s, which this session does not know; open "
    "one with files=... and prune them"
)


class FileStore(Access):
    """Where contents of files are, and which files there are."""

    _location: Location | None

    @property
    def file_limit(self) -> int | None:
        """Most bytes that a file can have; None is any."""
        return FILE_BYTES if self._location is None else None

    def files(self, name: str, id_experiment: str | None, ids: Sequence[str]) -> FilesOfRuns:
        """Return the files of runs, by `id_run` and name.

        Args:
            name: Name of their experiment.
            id_experiment: Its id, if another one of this name is not meant.
            ids: The runs.
        """
        if not self._exists():
            return {}
        return FileReader(self._reading, name, id_experiment, self._location).listed(ids)

    def find_contents(self, name: str, id_experiment: str, runs: Iterable[Run]) -> None:
        """Let runs that come from a pickle read their files here: who made them may be gone.

        Args:
            name: Name of their experiment.
            id_experiment: Its id.
            runs: The runs.
        """
        with_files = [run for run in runs if run.file_changes()]
        entries = [entry for run in with_files for entry in run.own_files.entries.values()]
        digests = list(dict.fromkeys(entry.sha256 for entry in entries if entry is not None))
        if not digests:
            return
        places: dict[str, str | None] = dict(
            self._reading(lambda t: files.places(t, id_experiment, digests))
        )
        places |= dict.fromkeys(self._reading(lambda t: files.present(t, id_experiment, digests)))
        reader = FileReader(self._reading, name, id_experiment, self._location)
        for run in with_files:
            own = run.own_files.entries
            for path, entry in own.items():
                if entry is not None and entry.sha256 in places:
                    own[path] = reader.entry(
                        id_experiment,
                        StoredFile(
                            run.id_run, path, entry.size, entry.sha256, places[entry.sha256]
                        ),
                    )

    def remove_objects(self, places: Sequence[str]) -> None:
        """Remove objects of the location of files that no file refers to.

        What cannot be removed now stays written down, for `remove_leftovers`.
        """
        self._remove(places, unseen)

    def _remove(self, places: Sequence[str], advance: Advance) -> int:
        """Remove objects; return how many that were."""
        location, gone, kept = self._location, [], []
        try:
            for done, place in enumerate(places):
                advance(done, len(places))
                if location is None or not location.may_have(place):
                    kept.append(place)
                    continue
                location.remove(place)
                gone.append(place)
            advance(len(places), len(places))
        except (StoreError, CorruptData) as error:
            _logger.warning("a file that nothing refers to was not removed: %s", error)
        if kept:
            _logger.warning(_KEPT, f"{len(kept):,}", kept[0].rsplit("/", 2)[0])
        if gone:
            with self._database.writing(UPLOADS_LOCK) as transaction:
                uploads.forget(transaction, gone)
        return len(gone)

    def remove_leftovers(self, advance: Advance = unseen) -> int:
        """Remove what killed processes have left behind; return how many contents that were.

        A writer that is still uploading notices, and uploads again.

        Args:
            advance: Is called with the number of objects that were tried, and of all.
        """
        if not self._exists():
            return remove_abandoned()
        self.check()
        with self._database.writing(UPLOADS_LOCK) as transaction:
            places = uploads.take(transaction)
        return self._remove(places, advance) + remove_abandoned()
