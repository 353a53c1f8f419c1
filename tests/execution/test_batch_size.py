"""Batches: few task runs, workers that end together, nothing that takes long in one piece."""

import heapq
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltraq_prefect.execution import BatchSizer, split
from mltraq_prefect.execution.batch_size import BATCHES_IN_FLIGHT
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run


def runs(durations):
    return [Run(params={"N": n}, ledger=LedgerEntry(duration_s=d)) for n, d in enumerate(durations)]


def executed(durations, workers, seconds=3.0):
    """Return when workers have executed runs that take so long, and the batches in their order."""
    sizer = BatchSizer(len(durations), workers, seconds)
    batches = split(runs(durations), sizer)
    made, waiting, busy, now = [], deque(), [], 0.0
    while True:
        while len(waiting) + len(busy) < sizer.max_in_flight() and (batch := next(batches, None)):
            made.append([run.ledger.duration_s for run in batch[1]])
            waiting.append(batch[1])
        while waiting and len(busy) < workers:
            members = waiting.popleft()
            takes = sum(run.ledger.duration_s for run in members)
            heapq.heappush(busy, (now + takes, id(members), members))
        if not busy:
            assert [d for batch in made for d in batch] == durations
            return now, made
        now, _, members = heapq.heappop(busy)
        sizer.observe(members)


@pytest.mark.parametrize("count", [1, 4, 100])
@pytest.mark.parametrize("each", [0.0, 0.001, 1000.0])
def test_few_runs_have_a_task_run_each(count, each):
    assert [len(batch) for batch in executed([each] * count, 2)[1]] == [1] * count


@pytest.mark.parametrize("count", [101, 1_000, 20_000])
@pytest.mark.parametrize("each", [0.0, 0.001, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_at_most_a_hundred_task_runs_a_step(count, each, workers):
    if count * each <= 6_000:
        assert len(executed([each] * count, workers)[1]) <= 100


@pytest.mark.parametrize(
    ("count", "each", "workers"),
    [
        (1_000, 0.02, 2),
        (10_000, 0.02, 2),
        (1_000, 1.0, 16),
        (1_000, 60.0, 64),
        (10_000, 10.0, 64),
        (150, 600.0, 4),
    ],
)
def test_all_workers_end_at_about_the_same_time(count, each, workers):
    ended, _ = executed([each] * count, workers)
    rounds = -(-count // workers)
    assert ended <= 1.03 * each * rounds


@pytest.mark.parametrize("workers", [2, 8])
@pytest.mark.parametrize("turned", [False, True])
def test_runs_that_take_ever_longer_or_less_are_divided_well_too(workers, turned):
    durations = [i / 500 for i in range(1_000)]
    if turned:
        durations.reverse()
    ended, _ = executed(durations, workers)
    assert ended <= 1.1 * sum(durations) / workers


def test_first_runs_that_import_modules_do_not_set_the_pace():
    _, made = executed([3.0, 3.0] + [0.005] * 998, 2)
    assert len(made) <= 20


@pytest.mark.parametrize(("seconds", "size"), [(1.0, 200), (3.0, 600)])
def test_a_batch_of_short_runs_takes_about_as_long_as_it_is_told(seconds, size):
    sizes = [len(batch) for batch in executed([0.005] * 10_000, 2, seconds)[1]]
    assert sizes[10] in (size, size + 1)  # a sum of floats


def test_a_batch_takes_about_a_minute_at_most_if_a_thousand_task_runs_do():
    _, made = executed([10.0] * 3_000, 2)
    assert max(map(sum, made)) <= 90.0
    assert 100 < len(made) <= 1_000
    assert len(executed([600.0] * 10_000, 2)[1]) <= 1_000


def test_towards_the_end_batches_get_smaller_but_not_tiny():
    sizes = [len(batch) for batch in executed([0.005] * 1_000, 2)[1]]
    assert sizes[-4:-1] == sorted(sizes[-4:-1], reverse=True)
    assert min(sizes[2:-1]) >= 50
    assert len(sizes) <= 12


def test_a_batch_is_not_large_because_one_run_was_fast():
    sizer = BatchSizer(10_000, 2)
    sizer.observe(runs([0.0]))
    assert sizer.size(9_998) <= 125


def test_only_what_tells_the_pace_is_on_its_way_at_first():
    sizer = BatchSizer(1_000, 3)
    assert sizer.max_in_flight() == 3
    sizer.observe(runs([0.0] * 100))
    assert sizer.max_in_flight() == BATCHES_IN_FLIGHT * 3


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=300),
    st.integers(1, 40),
    st.sampled_from([1.0, 3.0]),
)
def test_every_run_is_in_one_batch(durations, workers, seconds):
    executed(durations, workers, seconds)


def test_labels_are_params_or_positions():
    assert [label for label, _ in split(runs([0, 0]), BatchSizer(2, 1, fixed=1))] == ["N=0", "N=1"]
    labels = [label for label, _ in split(runs([0] * 7), BatchSizer(7, 1, fixed=3))]
    assert labels == ["1-3 of 7", "4-6 of 7", "N=6"]


def test_a_size_that_is_given_is_kept():
    sizes = [len(members) for _, members in split(runs([0] * 10), BatchSizer(10, 1, fixed=4))]
    assert sizes == [4, 4, 2]
