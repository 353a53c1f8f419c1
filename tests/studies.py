"""Studies as people have them, with known results: what pages and summaries are tried on."""

import math
from datetime import UTC, datetime, timedelta

FAMILIES = {
    "ridge": {"alpha": [0.01, 0.1, 1.0, 10.0]},
    "svc": {"C": [1, 10], "kernel": ["rbf", "linear"]},
    "forest": {"trees": [10, 100, 1_000], "depth": [4, 8]},
    "boosting": {"rate": [0.03, 0.1, 0.3]},
    "neighbours": {"k": [1, 5]},
    "bayes": {},
}
"""Six families of models, each with hyperparameters of its own: 20 configurations."""

LEVELS = {
    "ridge": 0.9,
    "svc": 0.96,
    "forest": 0.95,
    "boosting": 0.967,
    "neighbours": 0.94,
    "bayes": 0.8,
}
DATASETS = {"digits": 0.0, "iris": -0.01, "wine": -0.05}
SEEDS = 10


def add_families(experiment):
    """Add 600 runs: 20 configurations on three data sets, ten seeds each."""
    for family, grid in FAMILIES.items():
        experiment.add_runs(dataset=[*DATASETS], model=[family], seed=range(SEEDS), **grid)
    return experiment


def train(run):
    """Fail for 30 runs; else track what the params lead to, with noise, and log a curve."""
    params = run.params
    if params.model == "neighbours" and params.k == 1:
        raise ValueError(f"the {params.dataset} data have no neighbours")
    level = LEVELS[params.model] + DATASETS[params.dataset]
    level += 0.02 * (params.get("C") == 10) + 0.005 * math.log10(params.get("trees", 10))
    level -= 0.01 * abs(math.log10(params.get("alpha", 0.1)) + 1)
    run.fields.accuracy = level + run.rng.normal(0, 0.004)
    run.fields.loss = 1 - run.fields.accuracy
    run.fields.parameters = 1_000
    for step in range(8):
        run.log(step, training_loss=(1.1 - level) * 0.7**step)


def measure(run):
    """Track a number that depends on whatever params there are."""
    run.fields.error = 0.0
    for place, (name, value) in enumerate(run.params.items()):
        if name == "seed":
            continue
        if isinstance(value, datetime):
            run.fields.error += 0.02 * math.sin(value.day)
        elif isinstance(value, (int, float)):
            run.fields.error += abs(math.log10(value + 1e-6) + 2 - place) / 10
    run.fields.error += abs(run.rng.normal(0, 0.01))


DAYS = [datetime(2026, 1, 1, 6, tzinfo=UTC) + timedelta(days=day) for day in range(30)]

GRIDS = {
    "coin": {"N": [1, 25, 50, 100], "slot": DAYS[:12]},
    "models": {"classifier": ["logistic", "svc", "neighbours", "tree", "bayes"], "seed": range(10)},
    "rate": {"rate": [0.0001, 0.001, 0.01, 0.1, 1.0], "seed": range(5)},
    "two": {"rate": [0.0001, 0.001, 0.01, 0.1, 1.0], "width": [8, 16, 32, 64], "seed": range(3)},
    "days": {"slot": DAYS},
    "one": {"rate": [0.1]},
    "many": {"rate": [0.001 * n for n in range(1, 101)], "width": range(1, 11), "seed": range(10)},
}
"""Grids of other kinds by name; steps are `measure`. The last one has 10,000 runs."""
