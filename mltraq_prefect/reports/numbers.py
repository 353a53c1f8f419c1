"""Types of arrays of numbers, and the level of significance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Places = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]

LEVEL = 0.05
"""Of significance, on pages and in summaries; `PERCENT` is how these call it."""
PERCENT = f"{LEVEL:.0%}".replace("%", " %")
