"""A program of MLTRAQ's storage chapter: track, persist, load, add a metric."""

import numpy as np

import mltraq_prefect as mltraq


def toss_coins(run):
    run.fields.n = run.params.N
    run.fields.errors = []
    for _ in range(run.kwargs.K):
        heads = sum(np.random.uniform() < run.kwargs.P for _ in range(run.params.N))
        run.fields.errors.append(abs(heads / run.params.N - run.kwargs.P))


def metrics(run):
    run.fields.error = float(np.mean(run.fields.errors))


session = mltraq.create_session()
experiment = session.add_experiment(name="test")
experiment.add_runs(N=[1, 25, 50, 100])
experiment.execute(kwargs={"P": 0.8, "K": 200}, steps=toss_coins)
experiment.persist()

experiment = session.load("test")
experiment.execute(steps=metrics)
print(experiment.runs.df()[["n", "error"]].to_string(index=False))
