"""Generators of random numbers that many runs would share are refused, wherever they come from."""

import functools
import random

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution import as_steps

shared = np.random.default_rng(0)
NESTED = {"rngs": [random.Random(0)]}
draw = shared.normal


def reads_a_global(run):
    run.fields.x = shared.random()


def reads_a_nested_one(run):
    run.fields.x = NESTED["rngs"][0].random()


def reads_a_method(run):
    run.fields.x = draw()


def helper():
    return shared.random()


def reads_by_a_helper(run):
    run.fields.x = [helper() for _ in range(2)]


def by_default(run, rng=shared):
    run.fields.x = rng.random()


def given(run, rng):
    run.fields.x = rng.random()


def capturing():
    rng = np.random.RandomState(0)

    def captures(run):
        run.fields.x = rng.rand()

    return captures


@pytest.mark.parametrize(
    "step",
    [
        reads_a_global,
        reads_a_nested_one,
        reads_a_method,
        reads_by_a_helper,
        by_default,
        functools.partial(given, rng=shared),
        capturing(),
    ],
    ids=["global", "nested", "method", "helper", "default", "partial", "captured"],
)
def test_a_step_that_draws_from_a_shared_generator_is_refused(step):
    with pytest.raises(mltraq.InvalidStep, match=r"draws from a .*; draw from run\.rng"):
        as_steps(step, {}, 0)


@pytest.mark.parametrize(
    "kwargs",
    [{"rng": np.random.default_rng(0)}, {"options": {"rngs": [random.Random(1)]}}],
    ids=["direct", "nested"],
)
def test_kwargs_with_a_generator_are_refused(kwargs):
    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=[1])
    with pytest.raises(mltraq.InvalidStep, match=r"in kwargs.*; draw from run\.rng"):
        experiment.execute(lambda run: None, kwargs, backend="local")
    assert experiment.runs.first().ledger.attempts == 0


def test_a_generator_of_the_run_alone_is_accepted():
    def step(run):
        run.fields.x = float(run.params.rng.random())
        run.fields.y = np.random.default_rng(run.rng.integers(2**32)).random()
        run.fields.z = [random.random(), float(np.random.uniform())]

    def results():
        experiment = mltraq.create_session("sqlite://").add_experiment("e")
        experiment.add_runs(rng=[np.random.default_rng(n) for n in range(2)])
        experiment.execute(step, backend="local")
        return [dict(run.fields) for run in experiment.runs.values()]

    assert results() == results()
