"""Numbers and durations for a person."""

from __future__ import annotations

import math

from mltraq_prefect.reports.study.results import Column


def measured(mean: float, error: float) -> str:
    """Return a mean and its standard error, to the digits that the error leaves."""
    if not math.isfinite(error) or not math.isfinite(mean) or error == 0:
        return f"{mean:.6g}"
    digits = 1 - math.floor(math.log10(error))
    if -6 < digits < 9 and abs(mean) < 1e9:
        return f"{mean:.{max(digits, 0)}f} ± {error:.{max(digits, 0)}f}"
    return f"{mean:.4g} ± {error:.2g}"


def duration(seconds: float) -> str:
    """Return a duration for a person; NaN is one that is not known."""
    if math.isnan(seconds):
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.3g} min" if minutes < 120 else f"{minutes / 60:.3g} h"


def measured_cell(cell: tuple[float, float, int], runs: int, column: Column) -> str:
    """Return a mean with its standard error, and how many runs have a value if not all have."""
    mean, error, count = cell
    if not count:
        return "-"
    is_time = column.key == "duration_s" and column.source == "ledger"
    text = duration(mean) if is_time else measured(mean, error)
    return text + (f" ({count:,})" if count != runs else "")
