"""The summary of an experiment as Markdown: counts, means by params, a statement to copy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mltraq_prefect.reports.groups import (
    Axis,
    Floats,
    Groups,
    Means,
    compared,
    find_axes,
    means,
    shown,
    views,
)
from mltraq_prefect.reports.numbers import Numbers

LEGEND = "Mean ± standard error; in brackets how many runs have a value, where not all have one."

MAX_FIELDS = 6
"""The largest number of fields in one table."""

MOST_BYTES = 200_000
"""A summary has no more, whatever the experiment."""

CUT = "Further tables are left out: ask the database."

ROWS = 50
"""Groups in one table."""


def summary(name: str, numbers: Numbers, fields: Sequence[str], plot: str | None) -> str:
    """Return the summary of an experiment.

    Args:
        name: Name of the experiment.
        numbers: What the database holds of it.
        fields: The numeric fields to show.
        plot: Markdown of a picture, or of why there is none.
    """
    parts = [f"# {escaped(name)}", _counts(numbers)]
    if plot is not None:
        parts.append(plot)
    last = f"The same in SQL, one row a run:\n\n```sql\n{numbers.sql}\n```"
    left = MOST_BYTES - sum(len(part.encode()) + 2 for part in (*parts, last, CUT))
    for part in _tables(numbers, fields):
        left -= len(part.encode()) + 2
        if left < 0:
            parts.append(CUT)
            break
        parts.append(part)
    return "\n\n".join([*parts, last])


def numeric_fields(numbers: Numbers, chosen: Sequence[str] | None) -> list[str]:
    """Return the numeric fields to show, of those that there are."""
    return [key for key in chosen if key in numbers.fields] if chosen else list(numbers.fields)


def _counts(numbers: Numbers) -> str:
    head = "| table | runs | state | total compute | mean of a run | longest run |"
    rows = [head, "|---|---:|---|---:|---:|---:|"]
    for state, total in numbers.states.items():
        times = (total.total_s, total.total_s / total.runs, total.longest_s)
        cells = " | ".join(map(duration, times))
        rows.append(f"| {code(numbers.table)} | {total.runs:,} | {state} | {cells} |")
    return "\n".join(rows)


def _tables(numbers: Numbers, fields: Sequence[str]) -> Iterator[str]:
    if not numbers.complete:
        shown = f"are of the last {len(numbers.params):,}" if numbers.params else "are left out"
        yield f"Means {shown}, as there are {numbers.run_count:,} runs: ask the database for all."
    if not fields or not numbers.params:
        return
    axes = compared(find_axes(numbers.params))
    for groups in views(axes, len(numbers.params)):
        yield f"## {_heading(groups.axes)}\n\n{LEGEND}"
        found = {key: means(numbers.fields[key], groups) for key in fields}
        for start in range(0, len(fields), MAX_FIELDS):
            part = {key: found[key] for key in fields[start : start + MAX_FIELDS]}
            yield _table(groups, part)
        if len(groups.sizes) > ROWS:
            which = "last" if _is_of_time(groups) else "first"
            yield f"The {which} {ROWS} of {len(groups.sizes):,} groups."


def _heading(axes: Sequence[Axis]) -> str:
    return "By " + ", ".join(code(axis.name) for axis in axes) if axes else "All runs"


def _table(groups: Groups, fields: Mapping[str, Means]) -> str:
    names = [code(axis.name) for axis in groups.axes]
    head = [*names, "runs", *map(code, fields)]
    rules = ["---"] * len(names) + ["---:"] * (1 + len(fields))
    rows = [head, rules]
    count = len(groups.sizes)
    shown = range(count)[-ROWS:] if _is_of_time(groups) else range(count)[:ROWS]
    for group in shown:
        size = int(groups.sizes[group])
        cells = [_cell(found, group, size) for found in fields.values()]
        rows.append([*map(escaped, groups.labels(group)), f"{size:,}", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _is_of_time(groups: Groups) -> bool:
    """Return whether groups follow each other in time: the last of them matter most."""
    return bool(groups.axes) and groups.axes[0].kind == "time"


def _cell(found: Means, group: int, size: int) -> str:
    count = int(found.count[group])
    if not count:
        return "-"
    text = measured(float(found.mean[group]), float(found.error[group]))
    return text if count == size else f"{text} ({count:,})"


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


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in a table too."""
    line = shown(text, 120).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|*_[]`#~$":
        line = line.replace(mark, f"\\{mark}")
    return line


def code(text: str) -> str:
    """Return text as code, in a table too."""
    return "`" + shown(text, 120).replace("`", "'").replace("|", "\\|") + "`"


def main_fields(numbers: Numbers, fields: Sequence[str], most: int) -> list[str]:
    """Return the fields that are worth a picture: those that vary, and repeat no param."""
    axes = find_axes(numbers.params)
    known = [np.asarray(axis.levels)[axis.places] for axis in axes if axis.kind == "number"]
    varying = [key for key in fields if _varies(numbers.fields[key])]
    new = [key for key in varying if not any(_same(numbers.fields[key], one) for one in known)]
    return sorted(new, key=lambda key: _is_whole(numbers.fields[key]))[:most]


def _varies(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    return finite.size > 0 and bool(finite.min() < finite.max())


def _same(values: Floats, others: Floats) -> bool:
    return bool(np.array_equal(values, others))


def _is_whole(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    return bool(np.all(finite == np.round(finite)))
