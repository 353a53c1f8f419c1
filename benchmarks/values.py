"""Values: encode and decode beside pickle protocol 5, on the same values in the same process.

Run as ``python -m benchmarks.values``.
"""

from __future__ import annotations

import datetime as dt
import gc
import pickle
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mltraq_prefect import codecs

REPEATS = 5


class Row(NamedTuple):
    """One measurement: seconds of ours and of pickle, and what ours may cost.

    Attributes:
        work: What was done with which value.
        ours: Seconds of `mltraq_prefect.codecs`.
        pickle: Seconds of pickle protocol 5.
        mltraq: Seconds of MLTRAQ's serialiser, or None where that is not installed.
        budget: Largest ratio of ours to pickle that is allowed.
    """

    work: str
    ours: float
    pickle: float
    mltraq: float | None
    budget: float

    @property
    def ratio(self) -> float:
        """How many times pickle's time ours is."""
        return self.ours / self.pickle


def values() -> Iterator[tuple[str, Any, float]]:
    """Yield name, value and budget of each value that is measured."""
    rng = np.random.default_rng(0)
    yield "list of 1e6 floats", rng.random(10**6).tolist(), 3.0
    yield "list of 1e6 ints", list(range(10**6)), 3.0
    yield "array of 100 MB, float64", rng.random(12_500_000), 1.5
    yield "frame of 1e6 x 5", frame(10**6), 1.5
    yield "1e5 nested dicts", [nested(i) for i in range(10**5)], 3.0
    yield "1e5 nested dicts with tuples", [nested(i) | {"shape": (i, 2)} for i in range(10**5)], 3.0


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


def rows() -> list[Row]:
    """Measure, and return a row for each direction of each value."""
    found = []
    for name, value, budget in values():
        found += list(compare(name, value, budget, codecs.encode, codecs.decode))
    small = small_values()
    found += list(compare("1e5 small values, each alone", small, 3.0, encode_all, decode_all))
    return found


def encode_all(items: list[Any]) -> list[bytes]:
    return [codecs.encode(item) for item in items]


def decode_all(blobs: list[bytes]) -> list[Any]:
    return [codecs.decode(blob) for blob in blobs]


def pickle_all(items: list[Any]) -> list[bytes]:
    return [pickle.dumps(item, 5) for item in items]


def unpickle_all(blobs: list[bytes]) -> list[Any]:
    return [pickle.loads(blob) for blob in blobs]


def compare(
    name: str,
    value: Any,
    budget: float,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
) -> Iterator[Row]:
    """Yield the rows of one value."""
    each = encode is encode_all
    dumps = pickle_all if each else lambda item: pickle.dumps(item, 5)
    loads = unpickle_all if each else pickle.loads
    data, pickled = encode(value), dumps(value)
    ours, theirs = fastest(lambda: encode(value), lambda: dumps(value))
    rival = mltraq(value) if not each else (None, None)
    yield Row(f"encode {name}", ours, theirs, rival[0], budget)
    ours, theirs = fastest(lambda: decode(data), lambda: loads(pickled))
    yield Row(f"decode {name}", ours, theirs, rival[1], budget)


def fastest(*calls: Callable[[], Any]) -> list[float]:
    """Return the least seconds of each call; they take turns, so that noise hits all alike."""
    best = [float("inf")] * len(calls)
    for _ in range(REPEATS):
        for i, call in enumerate(calls):
            gc.collect()
            start = time.perf_counter()
            result = call()
            best[i] = min(best[i], time.perf_counter() - start)
            del result
    return best


def mltraq(value: Any) -> tuple[float | None, float | None]:
    """Return the seconds of MLTRAQ's serialiser, where it is installed and takes the value."""
    if find_spec("mltraq") is None:
        return None, None
    from mltraq.storage.serializers.datapak import DataPakSerializer

    try:
        data = DataPakSerializer.serialize(value)
        (out,) = fastest(lambda: DataPakSerializer.serialize(value))
        (back,) = fastest(lambda: DataPakSerializer.deserialize(data))
    except Exception:  # whatever it raises for a value that it does not support
        return None, None
    return out, back


def main() -> None:
    print(f"{'':45} {'ours':>10} {'pickle 5':>10} {'ratio':>6} {'budget':>6} {'MLTRAQ':>10}")
    for row in rows():
        rival = "-" if row.mltraq is None else f"{row.mltraq * 1e3:8.1f} ms"
        verdict = "" if row.ratio <= row.budget else "  over budget"
        print(
            f"{row.work:45} {row.ours * 1e3:7.1f} ms {row.pickle * 1e3:7.1f} ms "
            f"{row.ratio:6.2f} {row.budget:6.1f} {rival:>10}{verdict}"
        )


if __name__ == "__main__":
    main()
