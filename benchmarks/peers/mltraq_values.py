"""MLTRAQ's serialiser on the samples: seconds to encode and to decode, or why it cannot."""

from __future__ import annotations

import json
import sys
from typing import Any

from mltraq.storage.serializers.datapak import DataPakSerializer

from benchmarks.report import fastest
from benchmarks.samples import SMALL, samples

encode, decode = DataPakSerializer.serialize, DataPakSerializer.deserialize


def main(repeats: int) -> None:
    found: dict[str, Any] = {}
    for name, value, _ in samples():
        found[name] = measure_small(value, repeats) if name == SMALL else measure(value, repeats)
    print(json.dumps(found))


def measure(value: Any, repeats: int) -> list[Any]:
    try:
        data = encode(value)
        decode(data)
    except Exception as error:  # each has its own
        return [f"refused ({type(error).__name__})"] * 2
    return fastest(lambda: encode(value), lambda: decode(data), repeats=repeats)


def measure_small(values: list[Any], repeats: int) -> list[Any]:
    """Measure those that it takes, scaled up to all of them."""
    taken = [value for value in values if takes(value)]
    blobs = [encode(value) for value in taken]
    seconds = fastest(
        lambda: [encode(value) for value in taken],
        lambda: [decode(blob) for blob in blobs],
        repeats=repeats,
    )
    if len(taken) == len(values):
        return seconds
    share = f"; takes {len(taken) / len(values):.0%}"
    return [f"{s * len(values) / len(taken) * 1e3:,.1f} ms{share}" for s in seconds]


def takes(value: Any) -> bool:
    try:
        decode(encode(value))
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]))
