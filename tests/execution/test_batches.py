"""Batches: at most 100 a step, larger ones for runs that take no time, a fair share for all."""

import pytest

from mltraq_prefect.execution import Pace, split
from mltraq_prefect.run import LedgerEntry, Run


def runs(count, seconds=None):
    return [Run(params={"N": n}, ledger=LedgerEntry(duration_s=seconds)) for n in range(count)]


def sizes(count, runs_per_task="auto", seconds=None, workers=2):
    """Return the sizes of the batches if the first few end before the others are made."""
    pace = Pace(workers)
    found = []
    for _, members in split(runs(count), runs_per_task, pace):
        found.append(len(members))
        if seconds is not None and len(found) == 4:
            pace.note(runs(10, seconds))
    assert sum(found) == count
    return found


@pytest.mark.parametrize(
    ("count", "batches", "largest"), [(0, 0, 0), (4, 4, 1), (100, 100, 1), (1000, 100, 10)]
)
def test_at_most_a_hundred(count, batches, largest):
    found = sizes(count)
    assert (len(found), max(found, default=0)) == (batches, largest)


@pytest.mark.parametrize("count", [4, 100])
def test_few_runs_have_a_task_run_each_however_short_they_are(count):
    assert sizes(count, seconds=0.0) == [1] * count


def test_slow_runs_stay_in_the_smallest_batches():
    assert sizes(1000, seconds=10.0) == [10] * 100


def test_short_runs_go_in_larger_batches_that_become_smaller_towards_the_end():
    found = sizes(10_000, seconds=0.0)
    assert found[:4] == [100] * 4
    assert len(found) < 40
    assert found[4:-1] == sorted(found[4:-1], reverse=True)
    assert max(found) <= 1000


def test_a_batch_is_worth_a_second():
    assert set(sizes(5_000, seconds=0.005)[4:10]) == {200}


def test_at_the_end_there_is_a_batch_for_each_worker_and_none_is_tiny():
    found = sizes(1_000, seconds=0.005)
    assert len(found) < 14
    assert found[-2] == 50


def test_only_what_tells_the_pace_is_on_its_way_at_first():
    pace = Pace(3)
    assert pace.ahead() == 3
    pace.note(runs(1, 0.0))
    assert pace.ahead() == 6


def test_a_size_that_is_given_is_kept():
    assert sizes(10, 4, seconds=0.0) == [4, 4, 2]


def test_labels_are_params_or_positions():
    assert [label for label, _ in split(runs(2), "auto", Pace(1))] == ["N=0", "N=1"]
    assert [label for label, _ in split(runs(5), 3, Pace(1))] == ["1-3 of 5", "4-5 of 5"]
