"""Time zones of pandas' values. A key means the zone that pandas makes of that name.

That is a `ZoneInfo` from pandas 3 on, and a zone of pytz's before, where a `ZoneInfo` is marked.
"""

from __future__ import annotations

import datetime as dt
import importlib
import zoneinfo
from typing import Any

import pandas as pd

from mltraq_prefect.codecs import python_codec
from mltraq_prefect.codecs.registry import FormatError, Node, unpack

_ZONEINFO = "zoneinfo"
_IS_PYTZ_USED = int(pd.__version__.partition(".")[0]) < 3


def write_zone(zone: dt.tzinfo | None) -> Node:
    """Return the node of a time zone: as for Python's values, or ``["zoneinfo", key]``.

    Raises:
        RefusalError: It is of a library that pandas does not use.
    """
    if _IS_PYTZ_USED:
        key: Any = getattr(zone, "zone", None)
        if type(key) is str and type(zone).__module__.partition(".")[0] == "pytz":
            return key
        if type(zone) is zoneinfo.ZoneInfo:
            return [_ZONEINFO, python_codec.write_zone(zone)]
    return python_codec.write_zone(zone)


def read_zone(node: Node) -> dt.tzinfo | None:
    """Return the time zone of a node."""
    if type(node) is list and node[:1] == [_ZONEINFO]:
        return python_codec.read_zone(unpack(node, str, str)[1])
    if type(node) is str and _IS_PYTZ_USED:
        return _of_pytz(node)
    return python_codec.read_zone(node)


def _of_pytz(key: str) -> dt.tzinfo:
    pytz = importlib.import_module("pytz")  # a dependency of this pandas
    if key not in pytz.all_timezones_set:
        raise FormatError(f"time zone {key[:60]!r} is unknown to pytz; update it")
    zone: dt.tzinfo = pytz.timezone(key)
    return zone
