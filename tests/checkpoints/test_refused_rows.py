"""On a cluster, no run is there without rows that the process of the flow could not write."""

import queue

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints.resume import CheckpointedResults
from mltraq_prefect.execution import RunFingerprints
from mltraq_prefect.execution.fanout.executed import StepName
from mltraq_prefect.execution.fanout.row_intake import RowIntake
from mltraq_prefect.execution.fanout.row_owners import Ended
from mltraq_prefect.execution.file_desk import Desk
from mltraq_prefect.model.series import LoggedRows, Rows
from mltraq_prefect.model.spool import own_spool


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_worker_gives_rows_anew_that_the_database_has_refused(session, is_refused):
    experiment = session.add_experiment("x").add_runs(n=[1])
    experiment.persist()
    run = experiment.runs.first()
    prints, desk = RunFingerprints({"train": "a"}), Desk(own_spool(), None)
    steps = [StepName("train", "a")]
    results = CheckpointedResults(experiment.runs, steps, prints, experiment._state, desk)
    arrived, told = queue.SimpleQueue(), []
    intake = RowIntake(arrived, results, None)
    rows = LoggedRows(run.id_run, "train", Rows(0, [None], [0], {"loss": [1.0]}), sender="a")
    logged = [(run.id_run, "train")]
    if is_refused:
        session.load("x").delete()
    intake.log_and_tell([rows], told.append)
    intake.settle_and_tell(Ended("a", [run.id_run], logged), told.append)
    while not arrived.empty():
        arrived.get()()
    assert told == [[], logged if is_refused else []]
    if is_refused:
        with pytest.raises(mltraq.ExperimentNotFound):
            results.tick()
