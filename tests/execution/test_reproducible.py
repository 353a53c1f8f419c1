"""Results depend on steps, params, kwargs and seed, and on nothing else."""

import random

import numpy as np

import mltraq_prefect as mltraq
from tests.ways import both_ways, in_both_ways


def draw(run):
    run.fields.own = run.rng.random(3).tolist()


def draw_global(run):
    run.fields.python = random.random()
    run.fields.numpy = np.random.uniform()


def results(steps, **options):
    experiment = mltraq.create_session().add_experiment("draws").add_runs(a=[1, 2], b=range(5))
    experiment.execute(steps, **options)
    return [dict(run.fields) for run in experiment.runs.values()]


PROCESSES = [
    {"n_jobs": 1},
    {"n_jobs": 2, "runs_per_task": 3},
    {"n_jobs": 2, "runs_per_task": 10},
]


@both_ways("options", PROCESSES, with_task_runs=PROCESSES[1:2])
def test_processes_agree_with_local(options):
    assert results([draw, draw_global], **options) == results([draw, draw_global], backend="local")


@in_both_ways
def test_threads_agree_with_local():
    assert results(draw, backend="threads") == results(draw, backend="local")


def test_the_seed_changes_them():
    assert results(draw, backend="local", seed=1) != results(draw, backend="local")


def test_each_step_has_a_stream_of_its_own():
    def again(run):
        run.fields.again = run.rng.random(3).tolist()

    (first, *_) = results([draw, again], backend="local")
    assert first["own"] != first["again"]


def test_local_execution_leaves_the_global_generators_as_they_were():
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.uniform()
    random.seed(5)
    np.random.seed(5)
    results(draw_global, backend="local")
    assert (random.random(), np.random.uniform()) == expected
