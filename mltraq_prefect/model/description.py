"""Descriptions of runs for people: their params in a line."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np


def describe(params: Mapping[str, Any]) -> str:
    """Return params as text: ``N=25, model=LogisticRegression``."""
    return ", ".join(f"{name}={_short(value)}" for name, value in dict(params).items())


def _short(value: Any, limit: int = 40) -> str:
    if isinstance(value, functools.partial):
        parts = [*map(_short, value.args), describe(value.keywords)]
        text = f"{_short(value.func)}({', '.join(filter(None, parts))})"
    elif isinstance(value, float):
        text = format(value, "g") if float(format(value, "g")) == value else repr(float(value))
    elif isinstance(value, (str, datetime.date, datetime.time, np.generic)):
        text = str(value)
    else:
        text = getattr(value, "__name__", None) or repr(value)
    text = " ".join(str(text).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
