"""What a worker of a cluster leaves of a batch, perhaps in the process of the flow itself."""

import pickle
import re
from contextvars import ContextVar, copy_context
from pathlib import Path

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution.batch import Batch, Outcome
from mltraq_prefect.execution.fanout.batch_here import ROWS_IN_MEMORY_BYTES, SentRows
from mltraq_prefect.execution.fanout.executed import Executed, StepName, StepResult
from mltraq_prefect.execution.fanout.handover import Handover
from mltraq_prefect.execution.fanout.remote_files import (
    FileRequests,
    FileSender,
    RemoteDesk,
    WithRemoteDesk,
)
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.execution.serialization import pickle_runs
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.model.spool import PIECE_BYTES, Spool, own_spool
from tests.steps_of_files import room


def call(request):
    """Answer a request as the process of the flow does."""
    return pickle.dumps(FileRequests(Desk(own_spool(), None)).answer(unpickled(request)))


def test_contents_that_runs_began_with_stay_in_the_process_of_the_flow(session):
    run = session.add_experiment("x").add_runs(n=[1]).runs.first()
    run.files["given.txt"] = b"given"
    batch = Batch("1", 1, [pickle_runs([run])])
    handover = Handover(None, [StepName("train", "a")], None, None, FileSender(call))
    handover.begin(batch)
    begun = batch.here.begun[run.id_run]
    made = own_spool().put("made.txt", b"made", None)
    after = begun._replace(files={**begun.files, "made.txt": made})
    batch.here.note(Outcome(1, [after], None, []))
    batch.todo, batch.done = [], [[after]]
    handover(Executed([StepResult(batch, None)]))
    ((back,),) = batch.done
    assert back.files["given.txt"] == begun.files["given.txt"]
    assert Path(back.files["made.txt"].spooled).read_bytes() == b"made"
    assert not Path(made.spooled).exists()
    assert run.files["given.txt"].path().read_bytes() == b"given"


def test_only_the_run_fails_whose_file_somebody_removes_on_its_way(session, tmp_path):
    spool = Spool(str(tmp_path))
    (tmp_path / "contents").mkdir()

    def call(request):
        answer = FileRequests(Desk(spool, None)).answer(unpickled(request))
        for path in (tmp_path / "contents").iterdir():
            path.unlink()
        return pickle.dumps(answer)

    runs = session.add_experiment("x").add_runs(n=[1, 2]).runs
    batch = Batch("1", 2, [pickle_runs([*runs.values()])])
    handover = Handover(None, [StepName("train", "a")], None, None, FileSender(call))
    handover.begin(batch)
    first, second = batch.here.begun.values()
    made = own_spool().put("made.bin", bytes(PIECE_BYTES + 1), None)
    first = first._replace(files={"made.bin": made})
    batch.todo, batch.done = [], [[first, second]]
    handover(Executed([StepResult(batch, None)]))
    assert [frozen.id_run for (frozen,) in batch.done] == [second.id_run]
    ((_, told),) = batch.failures
    assert re.search(f"FileNotFoundError: .*; look whether its folder {spool.folder} is", told)


@pytest.mark.parametrize(
    ("error", "is_last", "stays"),
    [(RuntimeError, False, True), (RuntimeError, True, False), (KeyboardInterrupt, False, False)],
)
def test_a_batch_that_raises_leaves_nothing_unless_it_is_executed_once_more(
    session, error, is_last, stays
):
    run = session.add_experiment("x").add_runs(n=[1]).runs.first()
    batch = Batch("1", 1, [pickle_runs([run])])
    handover = Handover(None, [StepName("train", "a")], None, None, FileSender(call))
    made = own_spool().put("made.txt", b"made", None)

    def execute():
        after = batch.here.begun[run.id_run]._replace(files={"made.txt": made})
        batch.here.note(Outcome(1, [after], None, []))
        raise error("the flow has ended")

    with pytest.raises(error), handover.held(batch, is_last=is_last):
        execute()
    assert Path(made.spooled).exists() is stays
    assert (batch.here is not None) is stays


def test_a_disk_without_room_for_rows_is_named():
    rows, data = SentRows(), b"x" * ROWS_IN_MEMORY_BYTES
    with room(2 * ROWS_IN_MEMORY_BYTES):
        rows.keep([], data)
        rows.keep([], data)
        with pytest.raises(mltraq.StorageFull, match=re.escape(own_spool().folder)):
            rows.keep([], data)
    with pytest.raises(mltraq.StorageFull, match="set TMPDIR"):
        rows.keep([], b"x")


def test_executions_at_the_same_time_end_in_any_order_whatever_is_in_their_contexts():
    values, desk = ContextVar("values"), RemoteDesk(call, "same", None, False)

    def begun():
        values.set(np.zeros(2))
        outcomes = WithRemoteDesk(lambda *_: iter("ab"), desk)([], None)
        return next(outcomes), outcomes

    others = [copy_context().run(begun) for _ in range(3)]
    for _, outcomes in reversed(others):
        assert [*outcomes] == ["b"]
