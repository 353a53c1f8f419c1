"""How much params matter for the metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mltraq_prefect.reports.figures.charts import dot_chart
from mltraq_prefect.reports.numbers import Floats, Mask
from mltraq_prefect.reports.study.effects import Drawn
from mltraq_prefect.reports.study.study import Param, Study, some_of
from mltraq_prefect.requirements import is_importable

MOST_RUNS = 4_000
LEAST_RUNS = 12
TREES = 60
REPEATS = 5

PERMUTED = (
    "How much a forest of trees, which predicts the metric from the params, gets worse when the "
    "values of a param are shuffled (R², with the standard deviation of {} shuffles)."
)
EXPLAINED = (
    "The share of the variance of the metric that lies between the values of a param, without "
    "interactions. With scikit-learn installed, permutation importance is shown."
)


def importance(study: Study) -> list[Drawn]:
    """Return the importance of each param, by permutation if scikit-learn is installed."""
    params = [own for own in study.params if own.kind != "time"]
    if study.metric is None or not params:
        return []
    rows = study.sample[study.sample[study.metric.name].notna()]
    rows = some_of(rows, MOST_RUNS)
    metric = rows[study.metric.name].to_numpy(dtype=np.float64)
    if len(metric) < LEAST_RUNS or not np.ptp(metric) > 0:
        return []
    features = np.column_stack([_feature(rows[own.name], own) for own in params])
    known = [rows[own.name].notna().to_numpy() for own in params]
    if is_importable("sklearn"):
        values, errors = _permuted(features, metric)
        note = PERMUTED.format(REPEATS)
    else:
        pairs = zip(features.T, known, strict=True)
        values = np.array([_explained(column, metric, runs) for column, runs in pairs])
        errors, note = np.full_like(values, np.nan), EXPLAINED
    order = np.argsort(-values, kind="stable").tolist()
    names = [params[place].label for place in order]
    found = (values[order].tolist(), errors[order].tolist())
    svg = dot_chart(names, *found, "importance", zero=True)
    return [Drawn(f"What matters for {study.metric.name}", svg, note)]


def _feature(column: pd.Series[Any], param: Param) -> Floats:
    """Return a param as numbers: ranks tell a tree as much as values do, and are finite.

    Runs that do not have it are as the one in the middle: what other params say, such as to which
    family a run belongs, is not said here again.
    """
    if param.kind == "number":
        places = column.astype(np.float64).rank(method="dense")
    else:
        codes = column.astype(object).factorize()[0]
        places = pd.Series(codes, dtype=np.float64).where(codes >= 0)
    filled: Floats = places.fillna(places.quantile(interpolation="nearest")).to_numpy()
    return filled


def _permuted(features: Floats, metric: Floats) -> tuple[Floats, Floats]:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    forest = RandomForestRegressor(TREES, random_state=0).fit(features, metric)
    found = permutation_importance(forest, features, metric, n_repeats=REPEATS, random_state=0)
    return found.importances_mean, found.importances_std


def _explained(values: Floats, metric: Floats, known: Mask) -> float:
    """Return the share of the variance that lies between values, among runs that have any."""
    own = metric[known]
    if not own.size:
        return 0.0
    _, groups = np.unique(values[known], return_inverse=True)
    sizes = np.bincount(groups)
    means = np.bincount(groups, own) / sizes
    between = float((sizes * (means - own.mean()) ** 2).sum())
    return between / float(((metric - metric.mean()) ** 2).sum())
