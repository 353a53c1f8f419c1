"""The values that are measured. Peers import this module: it needs NumPy and pandas alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

SMALL = "1e5 small values, each alone"


class Sample(NamedTuple):
    """A value, and how many times pickle's time it may take to encode and to decode it."""

    name: str
    value: Any
    budgets: tuple[float, float]


FLAT_LIST = (3.0, 1.35)
"""To decode: 50 ms where pickle takes 37, as on the machine of the design's figures."""
ARRAY = (1.5, 1.5)
NESTED = (3.0, 3.0)


def samples() -> Iterator[Sample]:
    """Yield large values, then many small ones, to be written one by one."""
    rng = np.random.default_rng(0)
    yield Sample("list of 1e6 floats", rng.random(10**6).tolist(), FLAT_LIST)
    yield Sample("list of 1e6 ints", list(range(10**6)), FLAT_LIST)
    yield Sample("array of 100 MB, float64", rng.random(12_500_000), ARRAY)
    yield Sample("frame of 1e6 x 5", frame(10**6), ARRAY)
    yield Sample("1e5 nested dicts", [nested(i) for i in range(10**5)], NESTED)
    tuples = [nested(i) | {"shape": (i, 2)} for i in range(10**5)]
    yield Sample("1e5 nested dicts with tuples", tuples, NESTED)
    yield Sample(SMALL, small_values(), NESTED)


def frame(rows: int) -> pd.DataFrame:
    """Return a frame of floats, integers, strings and timestamps."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "loss": rng.random(rows),
            "accuracy": rng.random(rows),
            "label": rng.integers(0, 1000, rows),
            "name": [f"sample {i}" for i in range(rows)],
            "at": pd.date_range("2024-01-01", periods=rows, freq="s"),
        }
    )


def nested(i: int) -> dict[str, Any]:
    """Return a small tree of dicts and lists."""
    place = {"x": i, "y": 0.5}
    return {"id": i, "name": f"item {i}", "score": i / 7, "tags": ["a", "b"], "at": place}


def small_values() -> list[Any]:
    """Return 100,000 values such as fields of runs have."""
    kinds: list[Callable[[int], Any]] = [
        lambda i: i / 7,
        lambda i: np.float64(i / 7),
        lambda i: (i, i + 1),
        lambda i: [i / 7, i / 8, i / 9],
        lambda i: {"precision": i / 7, "recall": np.float64(i / 8)},
        lambda i: dt.datetime(2024, 1, 1) + dt.timedelta(seconds=i),
        lambda i: Decimal(i) / 8,
        lambda i: f"label {i}",
        lambda i: i % 2 == 0,
        lambda _: None,
    ]
    return [kinds[i % len(kinds)](i) for i in range(100_000)]
