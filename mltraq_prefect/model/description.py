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
    else:
        text = _shown(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return format(value, "g") if float(format(value, "g")) == value else repr(float(value))
    try:
        if isinstance(value, (str, datetime.date, datetime.time, np.generic)):
            return str(value)
        return str(getattr(value, "__name__", None) or repr(value))
    except Exception:  # of a user's class, or of times that NumPy cannot show
        return f"<{type(value).__name__}>"
