"""Failures hide nothing: grouped by distinct error, with the user's own frames."""

import json
import linecache
import pickle
import threading
import traceback

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import FailureGroup
from mltraq_prefect.execution.failures import Tally
from tests.ways import both_ways


def invert(value):
    return 1 / value


def fail_in_three_ways(run):
    if run.params.N == 7:
        json.loads("{")
    if run.params.N > 7:
        raise KeyError(run.params.N)
    run.fields.inverse = invert(run.params.N % 2)


@pytest.fixture
def failed(session):
    experiment = session.add_experiment("e").add_runs(N=range(20))
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(fail_in_three_ways, backend="local")
    return caught.value


def test_failures_are_grouped_by_type_and_place_the_largest_first(failed):
    found = [(group.count, group.error_type, group.examples) for group in failed.groups]
    assert found == [
        (12, "KeyError", ("N=8", "N=9", "N=10")),
        (4, "ZeroDivisionError", ("N=0", "N=2", "N=4")),
        (1, "json.decoder.JSONDecodeError", ("N=7",)),
    ]
    assert [group.place.partition(":")[0] for group in failed.groups] == ["test_failures.py"] * 3
    assert failed.groups[1].place.endswith(" in invert")


def test_a_traceback_shows_the_users_frames_with_their_source_and_no_others(failed):
    text = "".join(traceback.format_exception_only(failed))
    assert f": {failed}\nThe results of the others are kept.\n\n12 runs" in text
    for line in (
        "12 runs, such as N=8; N=9; N=10\n",
        "raise KeyError(run.params.N)",
        "run.fields.inverse = invert(run.params.N % 2)",
        "return 1 / value",
        "run N=7\nstep fail_in_three_ways: Traceback (most recent call last):\n",
        'json.loads("{")',
    ):
        assert line in text
    for folder in ("mltraq_prefect/execution", "json/decoder.py"):
        assert folder not in text
    ledger = text.count("File ")
    assert ledger == 4


def test_the_ledger_keeps_the_frames_of_libraries_and_the_type(session):
    experiment = session.add_experiment("e").add_runs(N=[7])
    experiment.execute(fail_in_three_ways, backend="local", on_error="keep")
    entry = experiment.runs.first().ledger
    assert "json/decoder.py" in entry.error
    assert "mltraq_prefect/execution" not in entry.error
    assert entry.error_type == "json.decoder.JSONDecodeError"


def test_an_error_that_came_from_another_one(session):
    def wrap(run):
        try:
            invert(0)
        except ZeroDivisionError as error:
            raise RuntimeError("no inverse") from error

    experiment = session.add_experiment("e").add_runs(N=[1])
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(wrap, backend="local")
    (group,) = caught.value.groups
    assert group.error_type == "RuntimeError"
    assert group.place.endswith("in wrap")
    error = experiment.runs.first().ledger.error
    assert error.startswith("step wrap: Traceback")
    assert "ZeroDivisionError" in error
    assert "direct cause" in error


def test_it_can_be_pickled_and_made_as_before(failed):
    again = pickle.loads(pickle.dumps(failed))
    assert str(again) == str(failed)
    assert again.__notes__ == failed.__notes__ == [failed.details]
    assert again.groups == failed.groups
    assert isinstance(again.groups[0], FailureGroup)
    plain = mltraq.RunsFailed("e", 5, 9, [("run N=1", "step s: boom"), ("run N=2", "bang")])
    assert str(plain) == "experiment 'e': 5 of 9 runs failed"
    assert "run N=1\nstep s: boom\n\nrun N=2\nbang\n\n... and 3 more runs." in plain.details


def test_memory_keeps_no_group_for_each_text_of_an_error(session):
    tally = Tally()
    for start in range(0, 3_000, 1_000):
        experiment = session.add_experiment("e").add_runs(N=range(start, start + 1_000))
        for run in experiment.runs.values():
            run.ledger.error, run.ledger.step = f"worker {run.params.N} has gone", "train"
            run.ledger.state = "failed"
        tally.note(experiment.runs.values())
    groups = tally.error("e").groups
    assert len(groups) == 1_001
    assert (groups[0].count, groups[0].examples) == (2_000, ("N=1000", "N=1001", "N=1002"))
    assert str(groups[0]).endswith("errors of more than 1,000 kinds: the ledger has each of them")
    assert groups[1].line == "run N=0: worker 0 has gone"
    later = Tally()
    later.keep(tally, executed=["judge"])
    assert later.error("e").groups == groups


def test_the_message_is_one_line(failed):
    assert "\n" not in str(failed)
    assert "17 of 20 runs failed: 12 x KeyError: " in str(failed)
    assert failed.summary == str(failed)


def test_a_message_of_any_size_is_bounded_and_the_ledger_keeps_it(session):
    experiment = session.add_experiment("e").add_runs(N=[1])

    def shout(run):
        raise ValueError("x" * 100_000)

    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(shout, backend="local")
    assert len(caught.value.details) < 10_000
    assert len(str(caught.value)) < 1_000
    assert len(experiment.runs.first().ledger.error) > 100_000


CELL = """\
def helper(value):
    return 1 / value  # the culprit

def step_of_a_cell(run):
    run.fields.x = [helper(run.params.N) for _ in range(2)]
"""


@both_ways("backend", ["processes", "threads", "local"], with_task_runs=["processes", "threads"])
def test_the_source_of_a_notebooks_cell_is_shown(session, backend, monkeypatch):
    name = "/nowhere/ipykernel_1/2345.py"
    lines = CELL.splitlines(keepends=True)
    monkeypatch.setitem(linecache.cache, name, (len(CELL), None, lines, name))
    cell = {"__name__": "__main__"}
    exec(compile(CELL, name, "exec"), cell)
    experiment = session.add_experiment("e").add_runs(N=[0, 1])
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(cell["step_of_a_cell"], backend=backend)
    (group,) = caught.value.groups
    assert "[helper(run.params.N) for _ in range(2)]" in group.text
    assert "return 1 / value  # the culprit" in group.text
    assert group.place == "2345.py:2 in helper"


def test_what_was_raised_is_in_the_message(session):
    def shout(run):
        raise ValueError(f"{run.params.N} coins are too many")

    experiment = session.add_experiment("e").add_runs(N=[1, 2])
    with pytest.raises(mltraq.RunsFailed) as caught:
        experiment.execute(shout, backend="local")
    assert ": 2 x ValueError: 1 coins are too many (test_failures.py:" in str(caught.value)


def test_a_step_that_cannot_begin_has_no_line_of_counts(session, capfd):
    lock = threading.Lock()

    def locked(run):
        lock.acquire()

    experiment = session.add_experiment("e").add_runs(N=[1, 2, 3])
    with pytest.raises(mltraq.InvalidInput):
        experiment.execute(locked, n_jobs=1)
    assert "runs completed" not in capfd.readouterr().err
