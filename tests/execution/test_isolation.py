"""Runs share nothing: what one leaves behind is seen by no other run, and by no retry."""

import asyncio
import functools
import logging
import os
import pickle
import re
import threading
import traceback

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution import Workers, as_steps
from mltraq_prefect.execution.frozen_values import SHARED_BYTES
from mltraq_prefect.execution.inputs import pickled_kwargs
from mltraq_prefect.execution.pool.worker_handle import make_job
from mltraq_prefect.execution.serialization import consume_runs, pickle_runs
from mltraq_prefect.model.run import Run
from tests.ways import both_ways, plainly

EVERYWHERE = [
    {"backend": "local"},
    {"backend": "threads", "n_jobs": 2, "runs_per_task": 2},
    {"n_jobs": 1, "runs_per_task": 6},
    {"n_jobs": 2, "runs_per_task": 1},
    {"n_jobs": 2, "runs_per_task": 4},
]

everywhere = both_ways("options", EVERYWHERE, with_task_runs=[EVERYWHERE[1], EVERYWHERE[4]])


def executed(steps, options, kwargs=None, params=None, **further):
    experiment = mltraq.create_session("sqlite://").add_experiment("e")
    experiment.add_runs(N=range(6), **(params or {}))
    experiment.execute(steps, kwargs, on_error="keep", **(options | further))
    return experiment


def fields(experiment):
    return [dict(run.fields) for run in experiment.runs.values()]


def failures(experiment):
    """Return the errors of the runs that failed, by N."""
    runs = experiment.runs.values()
    return {run.params.N: run.ledger.error for run in runs if run.ledger.state == "failed"}


@everywhere
def test_params_and_kwargs_that_are_changed_in_place(options):
    def change(run):
        run.params.d["n"] += 1
        run.kwargs.items.append(run.params.N)
        run.kwargs.nested["a"].append(1)
        run.kwargs.vector += 1
        run.fields.seen = [run.params.d["n"], len(run.kwargs.items), float(run.kwargs.vector[0])]

    def look(run):
        run.fields.later = [run.params.d["n"], len(run.kwargs.items), len(run.kwargs.nested["a"])]

    shared = {"n": 0}
    kwargs = {"items": [], "nested": {"a": []}, "vector": np.zeros(3)}
    experiment = executed([change, look], options, kwargs, {"d": [shared]})
    assert fields(experiment) == [{"seen": [1, 1, 1.0], "later": [0, 0, 0]}] * 6
    assert shared == {"n": 0}
    assert kwargs["items"] == []
    assert kwargs["vector"].tolist() == [0, 0, 0]


@everywhere
def test_a_retry_starts_from_the_fields_and_locals_as_they_were(options, tmp_path):
    def prepare(run):
        run.fields.x, run.locals.y = [0], {"n": 0}

    def fragile(run):
        run.fields.x.append(1)
        run.locals.y["n"] += 1
        mark = tmp_path / str(run.params.N)
        if not mark.exists():
            mark.touch()
            raise ValueError
        run.fields.n = run.locals.y["n"]

    experiment = executed([prepare, fragile], options, retries=1)
    assert fields(experiment) == [{"x": [0, 1], "n": 1}] * 6


@everywhere
def test_a_run_that_fails_keeps_its_fields_as_they_were(options):
    def prepare(run):
        run.fields.x = [0]

    def spoil(run):
        run.fields.x.append(1)
        raise ValueError

    experiment = executed([prepare, spoil], options)
    assert len(failures(experiment)) == 6
    assert fields(experiment) == [{"x": [0]}] * 6


@everywhere
def test_large_arrays_are_shared_and_read_only(options):
    import pandas as pd  # not at the top: workers import this module

    def change(run):
        if run.params.N == 1:
            run.kwargs.array[0] = 1
        run.kwargs.frame["new"] = 1
        run.fields.total = float(run.kwargs.array.sum() + run.kwargs.frame["x"].sum())

    array = np.zeros(SHARED_BYTES // 8)
    kwargs = {"array": array, "frame": pd.DataFrame({"x": np.zeros(SHARED_BYTES // 8)})}
    experiment = executed(change, options, kwargs)
    assert set(failures(experiment)) == {1}
    assert "read-only" in failures(experiment)[1]
    assert array[0] == 0
    assert list(kwargs["frame"]) == ["x"]


def _none(run):
    run.fields = None


def _list(run):
    run.fields = [1]


def _key(run):
    run.fields[1] = 2


def _no_ledger(run):
    run.ledger = None
    raise ValueError("no ledger")


def _no_params(run):
    del run.params


def _other_params(run):
    run.params = dict(run.params)


def _other_id(run):
    run.id_run = "other"


def _lock(run):
    run.fields.lock = threading.Lock()


class _Unpicklable:
    def __reduce__(self):
        raise RuntimeError("will not be pickled")


def _refuse(*_):
    raise RuntimeError("will not be unpickled")


class _Unreadable:
    def __reduce__(self):
        return _refuse, ()


def _unpicklable(run):
    run.fields.x = _Unpicklable()


def _unreadable(run):
    run.fields.x = [_Unreadable()]


SPOILT = [
    (_none, "left run.fields as None, of type NoneType"),
    (_list, r"left run.fields as \[1\], of type list"),
    (_key, r"set run.fields\[1\]; keys are text"),
    (_no_ledger, "ValueError: no ledger"),
    (_no_params, "params"),
    (_other_params, "replaced run.params"),
    (_other_id, "id_run"),
    (_lock, r"fields\.lock"),
    (_unpicklable, r"fields\.x"),
    (_unreadable, r"fields\.x"),
]


@everywhere
def test_what_a_step_leaves_in_a_run_is_the_failure_of_that_run(options):
    def step(run):
        run.fields.x = run.params.N
        if run.params.N % 2:
            SPOILT[run.params.N // 2][0](run)

    experiment = mltraq.create_session("sqlite://").add_experiment("e")
    experiment.add_runs(N=range(2 * len(SPOILT)))
    experiment.execute(step, on_error="keep", **options)
    assert fields(experiment) == [{} if n % 2 else {"x": n} for n in range(2 * len(SPOILT))]
    errors = failures(experiment)
    for n, (_, message) in enumerate(SPOILT):
        assert re.search(message, errors[2 * n + 1])


@everywhere
def test_locals_that_cannot_be_read_back_are_the_failure_of_their_run(options):
    def leave(run):
        run.locals.x = _Unreadable() if run.params.N == 2 else 1
        run.fields.x = 1

    def later(run):
        run.fields.y = run.locals.x if run.params.N != 2 else 0

    experiment = executed([leave, later], options)
    assert all("cannot be read back" in error for error in failures(experiment).values())
    assert set(failures(experiment)) <= {2}
    assert [run.fields.x for run in experiment.runs.values()] == [1] * 6


@everywhere
def test_exceptions_that_are_no_interruption_fail_their_run(options):
    errors = [asyncio.CancelledError, SystemExit, GeneratorExit, BaseException]

    def step(run):
        if len(errors) > run.params.N:
            raise errors[run.params.N]("on purpose")
        run.fields.x = 1

    experiment = executed(step, options)
    assert [*failures(experiment)] == [*range(len(errors))]
    for error in failures(experiment).values():
        assert "in step" in error
        assert "on purpose" in error


async def _later(run):
    run.fields.x = 1


def _generates(run):
    yield run


async def _generates_later(run):
    yield run


class _Asynchronous:
    async def __call__(self, run):
        run.fields.x = 1

    async def method(self, run):
        run.fields.x = 1


@pytest.mark.parametrize(
    "step",
    [
        _later,
        _generates,
        _generates_later,
        functools.partial(_later),
        functools.partial(functools.partial(_generates)),
        _Asynchronous(),
        _Asynchronous().method,
        functools.partial(_Asynchronous()),
    ],
)
def test_steps_that_would_execute_nothing_are_refused(step):
    with pytest.raises(mltraq.InvalidStep, match="which executes nothing when it is called"):
        as_steps(step, {}, 0)


@everywhere
@pytest.mark.filterwarnings("error")
def test_steps_that_return_what_is_not_executed_fail(options):
    made = [_later, _generates, _generates_later]

    def step(run):
        return made[run.params.N](run) if len(made) > run.params.N else None

    experiment = executed(step, options)
    kinds = ["a coroutine", "a generator", "an async generator"]
    assert [*failures(experiment)] == [*range(len(made))]
    for kind, error in zip(kinds, failures(experiment).values(), strict=True):
        assert f"returned {kind}" in error


@everywhere
def test_fields_that_cannot_be_stored_fail_their_run_by_name(options):
    def step(run):
        run.fields.x = object() if run.params.N == 2 else 1

    experiment = executed(step, options)
    assert set(failures(experiment)) == {2}
    assert "fields.x is of type object" in failures(experiment)[2]


METHODS = ["clear", "copy", "get", "items", "keys", "pop", "setdefault", "update", "values"]


@everywhere
def test_items_go_before_the_methods_of_dict(options, url):
    def step(run):
        for name in METHODS:
            assert getattr(run.kwargs, name) is False
            assert getattr(run.params, name) == name.upper()
            setattr(run.fields, name, 1)
            setattr(run.locals, name, 2)

    def add(run):
        run.fields.total = sum(getattr(run.fields, name) for name in METHODS)

    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("e")
        experiment.add_runs(N=range(2), **{name: [name.upper()] for name in METHODS})
        experiment.execute([step, add], dict.fromkeys(METHODS, False), **options)
        experiment.fields.items = 3
        experiment.persist()
        loaded = session.load("e")
        assert loaded.fields.items == 3
        assert [run.fields.total for run in loaded.runs.values()] == [len(METHODS)] * 2
        assert [run.params.copy for run in loaded.runs.values()] == ["COPY"] * 2
        assert set(loaded.runs.df()["copy"]) == {1}


@plainly
def test_a_wrong_attribute_of_a_run_hints_at_the_right_one():
    def step(run):
        run.fields.x = run.N

    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=[1])
    experiment.runs.first().locals.M = 1
    with pytest.raises(mltraq.RunsFailed, match=r"has no attribute 'N'; did you mean run\.params"):
        experiment.execute(step, backend="local")
    with pytest.raises(AttributeError, match=r"did you mean run\.locals\.M\?"):
        _ = experiment.runs.first().M
    with pytest.raises(AttributeError, match="id_run"):
        experiment.runs.first().id_run = "other"


@everywhere
def test_what_a_step_raised_is_the_cause(options):
    def step(run):
        raise LookupError("on purpose")

    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=range(2))
    with pytest.raises(mltraq.RunsFailed) as raised:
        experiment.execute(step, **options)
    assert isinstance(raised.value.__cause__, LookupError)
    assert str(raised.value.__cause__) == "on purpose"
    if "runs_per_task" not in options or "backend" in options:  # in this process
        frames = traceback.extract_tb(raised.value.__cause__.__traceback__)
        assert frames[-1].name == "step"


def _die_elsewhere(pid):
    if os.getpid() != pid:
        os._exit(3)


class _Deadly:
    def __reduce__(self):
        return _die_elsewhere, (os.getpid(),)


@plainly
def test_a_worker_that_dies_while_it_reads_a_run_costs_that_run():
    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=range(6))
    runs = list(experiment.runs.values())
    runs[2].locals.x = _Deadly()
    experiment.execute(
        lambda run: run.fields.update(x=1), on_error="keep", n_jobs=1, runs_per_task=6
    )
    assert set(failures(experiment)) == {2}
    assert "exit with code 3" in failures(experiment)[2]


def test_kwargs_are_sent_once_a_worker_and_large_ones_not_at_all():
    def step(run):
        run.fields.x = float(run.kwargs.array.sum())

    array = np.ones(4 * SHARED_BYTES // 8)
    inputs = pickled_kwargs({"array": array, "note": "a"}, on_this_machine=True)
    jobs = [make_job(each, inputs, logging.INFO, None) for each in as_steps([step] * 3, {}, 0)]
    assert sum(len(pickle.dumps(job)) for job in jobs) < SHARED_BYTES / 10
    with Workers(1) as workers:
        for job in jobs:
            (outcome,) = workers.execute(job, pickle_runs([Run(params={"N": 1})]))
            assert consume_runs(outcome.done)[0].fields.x == array.sum()
        (worker,) = workers._idle
        assert worker._message_for(jobs[0]) == jobs[0].key
        unseen = jobs[0]._replace(key="unseen")
        assert worker._message_for(unseen).inputs == inputs.key
