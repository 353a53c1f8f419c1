"""What runs have logged, step by step, as figures: parts of the work are never averaged."""

from __future__ import annotations

from collections.abc import Sequence

from mltraq_prefect.reports.figures.charts import COLOURS, Line, line_chart
from mltraq_prefect.reports.study.effects import Drawn, level_label, parts_left
from mltraq_prefect.reports.study.results import Curve, Curves
from mltraq_prefect.reports.study.study import Param, Study

MOST_KEYS = 12
MOST_STEPS = 500


def curves(study: Study) -> list[Drawn]:
    """Return what runs have logged, step by step: mean and one standard error of each group."""
    by, split = curve_group(study), study.split
    if split is by:
        split = None
    group, part = (None if own is None else own.column for own in (by, split))
    keys = study.results.logged()
    logged = study.results.curves(keys[:MOST_KEYS], group, part, MOST_STEPS)
    note = [
        curves_note(logged, study.header.runs),
        parts_left(split),
        *keys_left(len(keys), MOST_KEYS),
    ]
    places = {} if by is None else {level: place for place, level in enumerate(by.levels)}
    found = []
    for key, every in logged.lines.items():
        for label, own in by_part(split, every).items():
            # In the order, and so in the colours, that they have in other figures.
            ordered = sorted(own, key=lambda line: places.get(line.group, len(places)))
            lines = [
                curve_line("" if by is None else level_label(by, line.group), line)
                for line in ordered[:COLOURS]
            ]
            chart = line_chart(lines, "step", key, band=True, size=(720.0, 300.0))
            told = " ".join(filter(None, [*note, *some_shown(len(ordered), "lines")]))
            found.append(Drawn(f"{key}, {label}" if label else key, chart, told))
    return found


def keys_left(count: int, most: int) -> list[str]:
    """Return a note that not all keys that runs have logged have figures, or none."""
    return [f"Of {count:,} keys that were logged, {most} are shown."] if count > most else []


def some_shown(count: int, what: str) -> list[str]:
    """Return a note that a figure has no colours for all, or none."""
    return [f"{COLOURS} of {count:,} {what} are shown."] if count > COLOURS else []


def by_part(split: Param | None, logged: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Return curves by what the part of the work is called that they are of.

    Args:
        split: The param that divides the work; its first values are kept. None if nothing does.
        logged: The curves.
    """
    if split is None:
        return {"": list(logged)} if logged else {}
    places = {level: place for place, level in enumerate(split.levels)}
    found: dict[str, list[Curve]] = {}
    for own in sorted(logged, key=lambda line: places.get(line.part, len(places))):
        found.setdefault(level_label(split, own.part), []).append(own)
    return dict([*found.items()][:COLOURS])


def curve_groups(study: Study) -> list[Param]:
    """Return the params of which each value can have a curve of its own."""
    return [param for param in study.params if len(param.levels) <= COLOURS]


def curve_group(study: Study) -> Param | None:
    """Return the param whose values have curves: a chosen one, or what divides the work."""
    few = curve_groups(study)
    grouping = [param for param in study.grouping if param in few]
    if grouping and study.choice.by:
        return grouping[0]
    return study.split or next(iter(grouping), None)


def curves_note(logged: Curves, runs: int) -> str:
    """Return of which runs and rows curves are, if not of all; `runs` is how many there are."""
    some = (
        "" if logged.is_whole else f"Of {logged.runs:,} runs, spread evenly, as there are {runs:,}."
    )
    share = "" if logged.share == 1 else f"Of one row in {1 / logged.share:,.0f} of each run."
    return f"{some} {share}".strip()


def curve_line(label: str, curve: Curve) -> Line:
    """Return what runs have logged as a line of means and standard errors."""
    moments = curve.moments
    return Line(label, curve.steps, moments.mean.tolist(), moments.error.tolist())
