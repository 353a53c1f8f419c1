"""Numbers and durations for a person."""

from __future__ import annotations

import math

from mltraq_prefect.reports.study.results import Column


def plain(value: float) -> str:
    """Return a number to six digits; a large one that has more, with those before the point.

    Of one below a thousand million these are ten, some of them behind the point.
    """
    text = f"{value:.6g}"
    if float(text) == value or not 1e5 <= abs(value) < 1e16:
        return text
    is_whole = value == int(value) or abs(value) >= 1e9
    return f"{value:.0f}" if is_whole else f"{value:.10g}"


def measured(mean: float, error: float) -> str:
    """Return a mean and its standard error, to the digits that the error leaves."""
    if not math.isfinite(error) or not math.isfinite(mean) or error == 0:
        return plain(mean)
    if (digits := _digits(mean, error)) is not None:
        return f"{mean:.{digits}f} ± {error:.{digits}f}"
    return f"{_power(mean, error)} ± {error:.2g}"


def rounded(value: float, error: float) -> str:
    """Return a value with as many digits as a standard error leaves."""
    if not math.isfinite(error) or not math.isfinite(value) or error == 0:
        return plain(value)
    digits = _digits(value, error)
    return _power(value, error) if digits is None else f"{value:.{digits}f}"


def _digits(value: float, error: float) -> int | None:
    """Return how many digits follow the point; None if a power of ten is easier to read."""
    digits = 1 - math.floor(math.log10(error))
    is_plain = -6 < digits < 9 and abs(value) < 1e9 and max(abs(value), error) >= 1e-4
    return max(digits, 0) if is_plain else None


def _power(value: float, error: float) -> str:
    """Return a value with a power of ten, and the digits that its error leaves."""
    if value == 0:
        return "0"
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(error)) + 1
    return f"{value:.{min(max(digits, 1), 16)}e}"


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
