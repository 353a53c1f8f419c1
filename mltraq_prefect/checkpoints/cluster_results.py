"""Checkpoints of an execution on a cluster, in the process of the execution."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from mltraq_prefect.checkpoints.batch_writer import BatchFacts, BatchReport, SentWriter
from mltraq_prefect.checkpoints.resume import CheckpointedResults
from mltraq_prefect.checkpoints.selection import refuse_otherwise
from mltraq_prefect.environment import database_wait
from mltraq_prefect.execution.fanout.executed import BatchWriter
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Annotations
from mltraq_prefect.texts import counted

_logger = logging.getLogger("mltraq_prefect")


class ClusterResults(CheckpointedResults):
    """Takes what workers of a cluster have written, and writes what they could not.

    Where batches are executed on this machine it does what `CheckpointedResults` do.
    """

    _told: frozenset[str] = frozenset()
    _lost: frozenset[str] = frozenset()
    _noted = 0

    @property
    def elsewhere(self) -> ClusterResults:
        """What has batches written where they are executed: this, if another process can."""
        return self

    def batch_writer(self) -> BatchWriter | None:
        """Return what writes batches where they are executed; None if no other process can.

        The database knows the execution from now on.
        """
        state = self._state
        told = state.store.whereabouts
        if told is None:
            return None
        self._note_executions()
        record = replace(
            state.record([]),
            fields={},
            snapshot=None,
            fingerprints={},
            executions={},
            annotations=Annotations({}, ""),
        )
        more = self._id_execution, database_wait()
        return SentWriter(told, record, self._steps, *more)

    def _note_executions(self) -> None:
        """Let the database know the execution, and the code of its steps and params."""
        self._noted = len(self._state.fingerprints)
        self._state.note_executions()

    def facts_of(self, runs: Sequence[Run]) -> BatchFacts | None:
        """Return what that has to know of a batch; None if it is to come back.

        That is so if this process alone knows what it has of them: files, or fields never read.
        """
        known, prints = self._state.seen, self._prints
        seen = {run.id_run: own for run in runs if (own := known.get(run.id_run)) is not None}
        if len(seen) < len(runs) or any(run.file_changes() for run in runs):
            return None
        digests = {run.id_run: prints.follow(run.params) for run in runs}
        led = {id_run: digest for id_run, digest in digests.items() if digest}
        if len(self._state.fingerprints) > self._noted:  # params of a streamed grid come later
            self._note_executions()
        return BatchFacts(seen, led, self._state.has_series, self._state.has_files)

    def adopt(self, runs: list[Run], report: BatchReport) -> None:
        """Take runs that were written where they were executed.

        Raises:
            InvalidInput: Others have executed some of them meanwhile, and otherwise.
        """
        with self._lock:
            for result in runs:
                run = self._runs[result.id_run]
                result.ledger.stored = run.ledger.stored
                run.ledger = result.ledger
                self._logging.pop(result.id_run, None)
            self._state.has_series |= report.has_series
            self._state.has_files |= report.has_files
            self._state.note_elsewhere(report.written, [run.id_run for run in runs])
            if report.done_elsewhere:
                self._adopt_others(report.done_elsewhere)
            self.tick()

    def _lose(self, ids: Collection[str]) -> None:
        self._lost |= frozenset(ids)

    def _flush_runs(self) -> None:
        super()._flush_runs()
        if self._lost:
            lost, self._lost = self._lost, frozenset()
            self._adopt_others(lost)

    def _adopt_others(self, ids: Collection[str]) -> None:
        """Take what others have made of runs, such as a worker that was lost when it had written.

        Raises:
            InvalidInput: They have executed other code, or with other kwargs.
        """
        name = self._state.name
        entries = self._state.store.entries(name, sorted(ids))
        self._state.adopt_executed(entries)
        refuse_otherwise(name, self._runs, entries, self._names, self._prints)
        _logger.info(
            "experiment %r: %s executed twice, as when a worker is lost, or others "
            "execute them at the same time without shared=True; what was written first counts",
            name,
            counted(len(entries), "run was", "runs were"),
        )

    def tell_refusal(self, reason: str) -> None:
        """Say once why results pass through this process."""
        if reason not in self._told:
            self._told |= {reason}
            _logger.warning(
                "experiment %r: results of a worker pass through this process, which writes them, "
                "as the worker cannot: %s",
                self._state.name,
                reason,
            )
