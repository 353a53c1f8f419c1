"""What a worker of a cluster holds of a batch while it executes it."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from mltraq_prefect.errors import StorageFull
from mltraq_prefect.execution.batch import Outcome
from mltraq_prefect.execution.fanout.row_owners import OwnSeries
from mltraq_prefect.execution.serialization import FrozenRun
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.series import LoggedRows, Rows
from mltraq_prefect.model.spool import own_spool

ROWS_IN_MEMORY_BYTES = 1 << 20
"""More of the rows that were sent are in a temporary file."""


class SentRows:
    """A copy of the rows that an execution of a batch has sent.

    Attributes:
        sender: Identifies the execution.
        logged: Which series they are of.
    """

    def __init__(self) -> None:
        self.sender = secrets.token_hex(8)
        self.logged: set[OwnSeries] = set()
        self._sizes: list[int] = []
        self._file = SpooledTemporaryFile(  # noqa: SIM115 `close` closes it
            ROWS_IN_MEMORY_BYTES, dir=own_spool().folder
        )

    def keep(self, rows: Collection[LoggedRows], data: bytes) -> None:
        """Keep rows, which are pickled already.

        Raises:
            StorageFull: There is no room for them on this machine; none are kept any more.
        """
        self.logged.update((own.id_run, own.step) for own in rows)
        try:
            self._sizes.append(self._file.write(data))
            self._file.flush()
        except (OSError, ValueError) as error:  # a ValueError: there was no room before
            with suppress(OSError):  # it has more to write
                self._file.close()
            raise StorageFull(
                f"what runs log does not fit into {own_spool().folder}, where it is kept until it "
                f"is written ({error}); make room there, or set TMPDIR to another folder"
            ) from None

    def of(self, series: Collection[OwnSeries]) -> Iterator[LoggedRows]:
        """Yield the rows of some series, or what says that there are none."""
        for id_run, step in series:
            if (id_run, step) not in self.logged:
                yield LoggedRows(id_run, step, Rows(0))
        wanted = self.logged.intersection(series)
        self._file.seek(0)
        for size in self._sizes if wanted else ():
            rows = unpickled(self._file.read(size))
            yield from (own for own in rows if (own.id_run, own.step) in wanted)

    def close(self) -> None:
        """Drop them."""
        self._file.close()


class BatchHere:
    """A batch in the process of the worker that executes it.

    Args:
        begun: Its runs as they were at first, by id.
        facts: What a process that writes it has to know; None if none is to.

    Attributes:
        begun: As given.
        facts: As given.
        rows: The rows that were sent.
        is_alone: Whether the process of the execution has not answered at the end.
    """

    def __init__(self, begun: Mapping[str, FrozenRun], facts: Any) -> None:
        self.begun = begun
        self.facts = facts
        self.rows = SentRows()
        self.is_alone = False
        self._contents: set[str] = set()
        entries = (entry for run in begun.values() for entry in run.files.values())
        self._given = {entry.spooled for entry in entries if entry}

    def note(self, outcome: Outcome) -> None:
        """Note the contents of files that runs have here."""
        for chunk in (outcome.done, outcome.stopped, outcome.failed):
            for frozen in chunk or ():
                self._contents.update(entry.spooled for entry in frozen.files.values() if entry)

    def has_made(self, content: str) -> bool:
        """Return whether a content was put here by the batch; the flow may be in this process."""
        is_here = Path(content).parent.parent == Path(own_spool().folder)
        return is_here and content not in self._given

    def close(self, *, keeps_contents: bool = False) -> None:
        """Drop what is here, when it was written or sent, or is lost.

        Args:
            keeps_contents: Whether contents of files stay, as those that come back refer to them.
        """
        self.rows.close()
        for content in () if keeps_contents else filter(self.has_made, self._contents):
            Path(content).unlink(missing_ok=True)
