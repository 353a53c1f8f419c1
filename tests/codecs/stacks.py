"""Values that each stack of libraries has its own way with, and what other stacks wrote of them.

``python -m tests.codecs.stacks`` writes what the installed pandas, NumPy and pyarrow make of them
to a file of tests/assets that is named for their versions; it needs none of the tests' packages.
"""

import base64
import inspect
import json
import zoneinfo
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from mltraq_prefect import codecs

FOLDER = Path(__file__).parent.parent / "assets"
NANOSECONDS = np.array([1_767_225_600_000_000_000, 1_774_744_200_000_000_001], "M8[ns]")
"""In winter, and in the hour that summer time skips in Berlin."""


class AbsentError(Exception):
    """The installed libraries do not have such a value."""


def text(storage, missing):
    """Return text of which one item is missing, in a dtype of pandas' own."""
    if "na_value" in inspect.signature(pd.StringDtype).parameters:
        dtype = pd.StringDtype(storage, na_value=missing)
    elif missing is pd.NA:
        dtype = pd.StringDtype(storage)
    elif storage == "pyarrow":
        dtype = pd.StringDtype("pyarrow_numpy")
    else:
        raise AbsentError
    return pd.array(["naïve", None, ""], dtype=dtype)


def decimals(bits):
    if not hasattr(pa, f"decimal{bits}"):
        raise AbsentError
    return pd.arrays.ArrowExtensionArray(pa.array([1, None], getattr(pa, f"decimal{bits}")(5, 1)))


def variable_width():
    if not hasattr(np.dtypes, "StringDType"):
        raise AbsentError
    return np.array(["naïve", ""], np.dtypes.StringDType())


def in_zone(zone):
    """Return instants in a zone, which each pandas takes by its name from a library of its own."""
    return pd.DatetimeIndex(NANOSECONDS, name="at").tz_localize("UTC").tz_convert(zone)


def frame():
    columns = {
        "n": np.array([1, 2]),
        "x": np.array([0.5, np.nan]),
        "text": pd.Series(["a", None], dtype=object),
        "masked": pd.array([1, None], dtype="Int64"),
        "kind": pd.Categorical(["u", "v"], pd.Index(["u", "v"], dtype=object), ordered=True),
        "at": in_zone("Europe/Berlin").array,
    }
    found = pd.DataFrame(columns, index=pd.Index(["x", "y"], dtype=object, name="key"))
    found.columns = pd.Index(list(columns), dtype=object)
    return found


VALUES = {
    "text in Python, NA": lambda: text("python", pd.NA),
    "text in pyarrow, NA": lambda: text("pyarrow", pd.NA),
    "text in Python, nan": lambda: text("python", np.nan),
    "text in pyarrow, nan": lambda: text("pyarrow", np.nan),
    "series of text": lambda: pd.Series(text("pyarrow", np.nan), name="s"),
    "index of text": lambda: pd.Index(text("pyarrow", np.nan)[[0, 2]]),
    "index in a named zone": lambda: in_zone("Europe/Berlin"),
    "index in UTC": lambda: in_zone("UTC"),
    "index in a zone of Python": lambda: in_zone(zoneinfo.ZoneInfo("Europe/Berlin")),
    "timestamp in a named zone": lambda: in_zone("Europe/Berlin")[1],
    "timestamp in a zone of Python": lambda: in_zone(zoneinfo.ZoneInfo("America/New_York"))[0],
    "timestamp": lambda: pd.Timestamp(NANOSECONDS[1]),
    "timedelta": lambda: pd.Timedelta(np.timedelta64(-1, "ns")),
    "regular index": lambda: pd.DatetimeIndex(NANOSECONDS[:1], freq="h"),
    "period": lambda: pd.period_range("2026-01", periods=2, freq="M"),
    "interval": lambda: pd.interval_range(0, 2),
    "masked": lambda: pd.array([True, None], dtype="boolean"),
    "frame": frame,
    "frame of one dtype": lambda: pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "multi-index": lambda: pd.MultiIndex.from_arrays(
        [pd.Index(["a", "b"], dtype=object), pd.Index([1, 2])], names=["k", None]
    ),
    "decimals of 128 bits": lambda: decimals(128),
    "decimals of 32 bits": lambda: decimals(32),
    "lists of Arrow": lambda: pd.arrays.ArrowExtensionArray(pa.array([[1], None])),
    "variable-width strings": variable_width,
    "array": lambda: np.arange(6, dtype=">i2").reshape(2, 3),
    "records": lambda: np.array([(1, 2.0)], dtype=[("a", "u1"), ("b", "<f8")]),
    "scalar": lambda: np.float32(0.1),
    "instant": lambda: NANOSECONDS[1],
}


def stack():
    """Return the versions of the installed libraries."""
    return {library.__name__: library.__version__ for library in (pd, np, pa)}


def main():
    """Write the file of the installed libraries."""
    written = {}
    for name, make in VALUES.items():
        if name.endswith("zone of Python") and pd.__version__ >= "3":
            continue  # named zones are zones of Python there
        try:
            written[name] = base64.b64encode(codecs.encode(make())).decode()
        except AbsentError:
            continue
    path = FOLDER / f"{'_'.join('-'.join(pair) for pair in stack().items())}.json"
    path.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
