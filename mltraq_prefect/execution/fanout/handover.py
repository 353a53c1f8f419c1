"""The end of a batch in the process that has executed it, on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mltraq_prefect.errors import InvalidInput, MltraqError
from mltraq_prefect.execution.batch import Batch
from mltraq_prefect.execution.fanout.batch_here import BatchHere
from mltraq_prefect.execution.fanout.calls import CallLost
from mltraq_prefect.execution.fanout.executed import (
    BatchWriter,
    Executed,
    StepName,
    note_task_runs,
)
from mltraq_prefect.execution.fanout.remote import RowSender
from mltraq_prefect.execution.fanout.remote_files import FileSender
from mltraq_prefect.execution.frozen_values import thaw
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.texts import first_line


@dataclass(frozen=True, slots=True)
class Handover:
    """Writes what became of a batch where that was executed, or has it come back.

    Attributes:
        write: Writes it; None if nothing is to be written there.
        steps: The steps of the execution.
        flow_run_id: Id of its flow run, or None.
        rows: Sends rows as they come; None if they come with the batch.
        files: Sends contents of files; None if they are on a disk that the flow shares.
    """

    write: BatchWriter | None
    steps: Sequence[StepName]
    flow_run_id: str | None
    rows: RowSender | None
    files: FileSender | None

    @contextmanager
    def held(self, batch: Batch, *, is_last: bool = True) -> Iterator[None]:
        """Hold a batch while it is executed; if that raises, nothing of it stays here.

        Args:
            batch: The batch; what was executed before is left out.
            is_last: Whether it is not executed once more if that raises.
        """
        if batch.here is None:
            self.begin(batch)
        try:
            yield
        except BaseException as error:
            if (is_last or not may_be_retried(error)) and batch.here is not None:
                batch.here.close()
                batch.here = None
            raise

    def begin(self, batch: Batch) -> None:
        """Begin a batch, without what was executed before."""
        begun = {frozen.id_run: frozen for chunk in batch.todo for frozen in chunk}
        if self.write is not None and batch.facts is not None:
            batch.facts, done = self.write.begin(batch.facts, list(begun))
            if done:
                left = [[each for each in chunk if each.id_run not in done] for chunk in batch.todo]
                batch.todo = [chunk for chunk in left if chunk]
                begun = {id_run: run for id_run, run in begun.items() if id_run not in done}
        batch.here = BatchHere(begun, batch.facts)

    def __call__(self, executed: Executed) -> Executed:
        """Return what the process of the execution has to know; all of it if nothing was written.

        Args:
            executed: What became of the batch.

        Raises:
            CallLost: The process of the execution has gone, and others execute the steps now.
        """
        here, keeps_contents = executed.results[0].batch.here, False
        try:
            if self.rows is not None:
                last = executed.results[-1].batch
                last.rows += self.rows.settle(here)
            executed = self._handed(executed, here)
            keeps_contents = executed.handed is None and self.files is None
            return executed
        finally:
            here.close(keeps_contents=keeps_contents)
            for result in executed.results:
                result.batch.here = None

    def _handed(self, executed: Executed, here: BatchHere) -> Executed:
        refusal = ""
        if self.write is not None and here.facts is not None:
            if here.is_alone and self.write.is_superseded():
                raise CallLost("another execution of these steps has begun since this one ended")
            rows = [row for result in executed.results for row in result.batch.rows]
            logged = {*here.rows.logged, *((own.id_run, own.step) for own in rows)}
            try:
                handed = self.write(here.facts, list(self._ended(executed, here)), rows, logged)
            except Exception as error:
                refusal = _told(error)
            else:
                for result in executed.results:
                    result.batch.clear()
                return executed._replace(handed=handed)
        if self.files is not None:
            for result in executed.results:
                self.files(result.batch, here)
        return executed._replace(refusal=refusal)

    def _ended(self, executed: Executed, here: BatchHere) -> Iterator[Run]:
        task_runs: tuple[str | None, ...] = ()
        for result in executed.results:
            task_runs = (*task_runs, result.task_run_id)
            for frozen in (frozen for chunk in result.batch.ended() for frozen in chunk):
                run = frozen.consume()
                note_task_runs(run.ledger, self.steps, task_runs, self.flow_run_id)
                if run.ledger.state == "failed":
                    run.fields = Namespace(thaw(here.begun[run.id_run].fields))
                yield run


def may_be_retried(error: BaseException) -> bool:
    """Return whether a batch whose step raised an error, outside of its runs, is tried again.

    Invalid input would be refused again, and nobody takes what is made when the execution has
    ended; what is no `Exception` is an interruption.
    """
    return isinstance(error, Exception) and not isinstance(error, InvalidInput | CallLost)


def _told(error: Exception) -> str:
    """Return a line about an error; what others raise may have secrets in it."""
    if not isinstance(error, MltraqError):
        return type(error).__name__
    return f"{type(error).__name__}: {first_line(error)}"
