"""Where there is no terminal, lines of the log say how far an execution is, and what is left."""

import logging
import re

import pytest
from prefect import flow

from mltraq_prefect.execution.fanout import progress
from mltraq_prefect.orchestration import progress_artifact
from tests.steps import refuse_zero
from tests.ways import in_both_ways

LINE = re.compile(
    r"experiment 'slow': (\d+) of 30 runs completed, (\d+) failed, about [\d.]+ (s|min|h) left"
)


@in_both_ways
def test_lines_have_counts_and_the_time_that_is_left(way, session, caplog, monkeypatch):
    for module in (progress, progress_artifact):
        monkeypatch.setattr(module, "MINUTE", 0.1)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.1)
    caplog.set_level(logging.INFO)

    def execute():
        experiment = session.add_experiment("slow").add_runs(N=range(30))
        experiment.execute(refuse_zero, n_jobs=1, runs_per_task=1, on_error="keep")

    flow(execute)() if way == "prefect" else execute()
    found = [LINE.fullmatch(record.getMessage()) for record in caplog.records]
    counts = [int(match[1]) for match in found if match]
    assert counts == sorted(counts)
    assert len(set(counts)) > 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (40, ", about 40 s left"), (100, ", about 1.7 min left"),
     (9000, ", about 2.5 h left")],
)  # fmt: skip
def test_the_time_that_is_left_is_for_people(seconds, text):
    assert progress._left(progress.Progress(50.0, "a", "", seconds)) == text
