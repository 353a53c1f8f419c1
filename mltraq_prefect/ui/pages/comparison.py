"""The page that compares experiments with each other, or groups of runs of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from mltraq_prefect.errors import InvalidInput, MltraqError
from mltraq_prefect.reports.comparison.columns import EXPERIMENT
from mltraq_prefect.reports.comparison.compare import compare
from mltraq_prefect.reports.figures.charts import COLOURS, Line, line_chart
from mltraq_prefect.reports.figures.marks import Marks, marks
from mltraq_prefect.reports.html.render import render
from mltraq_prefect.reports.numbers import LEVEL
from mltraq_prefect.reports.study.curves import (
    MOST_STEPS,
    by_part,
    curve_line,
    curves_note,
    keys_left,
    some_shown,
)
from mltraq_prefect.reports.study.effects import parts, parts_left
from mltraq_prefect.reports.study.results import Column
from mltraq_prefect.reports.study.study import Param, Study, short_value, shown_value
from mltraq_prefect.reports.wording import measured, rounded
from mltraq_prefect.texts import counted
from mltraq_prefect.ui.links import Links
from mltraq_prefect.ui.pages.requests import choice_of, name_of, query_of

if TYPE_CHECKING:
    import pandas as pd
    from starlette.requests import Request

    from mltraq_prefect.storage import Store

MOST_EXPERIMENTS = 12
MOST_LEVELS = 8
MOST_ROWS = 60
MOST_KEYS = 8


def page(store: Store, request: Request) -> str:
    """Return the page.

    Raises:
        ExperimentNotFound: There is no experiment with a table of the address.
        InvalidInput: The address names none, or too many.
    """
    query = query_of(request)
    tables = list(dict.fromkeys(query.get("e", ())))
    if not 0 < len(tables) <= MOST_EXPERIMENTS:
        raise InvalidInput(
            f"choose up to {MOST_EXPERIMENTS} experiments, each as e= in the address"
        )
    names = {table: name_of(store, table) for table in tables}
    studies = {name: Study(store.results(name)) for name in names.values()}
    asked = _Asked(studies, query)
    compared = _compared(studies, asked)
    return render(
        "compare.html",
        title="Compare",
        refresh=None,
        links=Links(query=query),
        names=names,
        asked=asked,
        differing=_differing(studies) if len(studies) > 1 else [],
        compared=compared,
        curves=_curves(studies, asked),
        notes=[*_notes(studies, asked.metric), *_parts_left(studies, asked)],
    )


class _Asked:
    """What is compared: as the address has it, or what is likely.

    Attributes:
        metrics: The metrics that all experiments have.
        columns: What runs can be grouped and paired by.
        metric: The metric.
        by: What makes the groups.
        pair_on: What makes the pairs.
        is_chosen: Whether the address says how pairs are made.
    """

    def __init__(self, studies: Mapping[str, Study], query: Mapping[str, Sequence[str]]) -> None:
        every = list(studies.values())
        self.metrics = _common([[own.name for own in study.metrics] for study in every])
        params = _common([[own.name for own in study.params] for study in every])
        self.columns = [EXPERIMENT, *params] if len(every) > 1 else params
        if not self.metrics:
            raise InvalidInput("these experiments have no numeric field in common")
        likely = every[0].metric
        self.metric = choice_of(dict(query)).metric or (
            likely.name if likely is not None and likely.name in self.metrics else self.metrics[0]
        )
        self.by = next(iter(query.get("by", ())), "") or self._likely_by(every)
        self.is_chosen = "pair_on" in query
        chosen = query.get("pair_on", ())
        wanted = chosen if self.is_chosen else self.columns
        self.pair_on = [own for own in wanted if own not in ("", self.by)]

    def _likely_by(self, studies: Sequence[Study]) -> str:
        if len(studies) > 1:
            return EXPERIMENT
        few = [own for own in studies[0].grouping if own.kind == "category"]
        return next((own.name for own in [*few, *studies[0].params]), "")


def _common(lists: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in lists[0] if all(name in other for other in lists[1:])]


class _Compared(NamedTuple):
    """The comparisons of a part of the work.

    Attributes:
        part: Its label; empty if nothing divides the work.
        rows: The comparisons, the surest first.
        dots: The same as a figure in the table.
        trouble: Why there are none, or none in pairs.
        is_paired: Whether runs are compared in pairs.
        left: How many comparisons are not among the rows.
    """

    part: str
    rows: Sequence[Mapping[str, Any]]
    dots: Marks | None
    trouble: str
    is_paired: bool
    left: int


def _compared(studies: Mapping[str, Study], asked: _Asked) -> list[_Compared]:
    """Return the comparisons of each part of the work: of all, too, if pairs keep to one."""
    frames = {name: study.sample for name, study in studies.items()}
    split = _split(studies, asked)
    if split is None:
        found = [_found("", frames, asked)]
    else:
        whole = _found(f"{split.label}: all together", frames, asked)
        apart = _frames_of_parts(studies)
        found = [_found(label, own, asked) for label, own in apart.items()]
        keeps = split.name in asked.pair_on and (whole.is_paired or asked.is_chosen)
        found = [whole, *found] if keeps else found
    if any(own.rows for own in found) and not any(own.is_paired for own in found):
        asked.pair_on = []
        found = [own._replace(trouble="") if own.rows else own for own in found]
    return found


def _frames_of_parts(studies: Mapping[str, Study]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the runs of each experiment that has some of a part, by the label of the part."""
    frames: dict[str, dict[str, pd.DataFrame]] = {}
    for name, study in studies.items():
        for label, rows in parts(study, study.split):
            frames.setdefault(label, {})[name] = rows
    return frames


def _split(studies: Mapping[str, Study], asked: _Asked) -> Param | None:
    """Return what divides the work of all experiments, if the groups are not made by that."""
    splits = [study.split for study in studies.values()]
    names = {None if own is None else own.name for own in splits}
    return splits[0] if len(names) == 1 and asked.by not in names else None


def _found(part: str, frames: Mapping[str, pd.DataFrame], asked: _Asked) -> _Compared:
    """Return the comparisons of a part, in pairs if it has any, or why there are none."""
    data: Any = frames if asked.by == EXPERIMENT or len(frames) > 1 else next(iter(frames.values()))
    ways = [asked.pair_on, []] if asked.pair_on and not asked.is_chosen else [asked.pair_on]
    trouble = ""
    for pair_on in ways:
        try:
            found = compare(
                data, asked.metric, asked.by or None, pair_on=pair_on, nan_policy="omit"
            )
        except MltraqError as error:
            trouble = trouble or str(error)
            continue
        rows = _rows(found)
        left = len(found) - len(rows)
        return _Compared(part, rows, _dots(rows), trouble, bool(pair_on), left)
    return _Compared(part, [], None, trouble, is_paired=False, left=0)


def _rows(found: pd.DataFrame) -> list[dict[str, Any]]:
    ordered = found.sort_values("p_holm", kind="stable").head(MOST_ROWS)
    return [
        {str(key): value for key, value in row.items()} | _told(row)
        for row in ordered.to_dict("records")
    ]


def _told(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the texts of a row: numbers have the digits that the error leaves."""
    error = row["standard_error"]
    names = ("ci_low", "ci_high", "value", "baseline_value")
    return {
        **{name: shown_value(row[name]) for name in ("group", "baseline")},
        **{name: rounded(row[name], error) for name in names},
        "difference": measured(row["effect"], error),
        "is_significant": row["p_holm"] <= LEVEL,
    }


def _dots(rows: Sequence[Mapping[str, Any]]) -> Marks | None:
    effects, errors = ([row[name] for row in rows] for name in ("effect", "standard_error"))
    return marks(effects, errors, muted=[not row["is_significant"] for row in rows], zero=True)


def _curves(studies: Mapping[str, Study], asked: _Asked) -> list[tuple[str, str, str]]:
    """Return what runs have logged: key, curves of experiments or groups over each other, note."""
    keys = _common([study.results.logged() for study in studies.values()])
    left, keys = keys_left(len(keys), MOST_KEYS), keys[:MOST_KEYS]
    column = None
    if len(studies) == 1:
        (study,) = studies.values()
        column = next((own.column for own in study.params if own.name == asked.by), None)
    is_split = _split(studies, asked) is not None
    splits = {name: own.split if is_split else None for name, own in studies.items()}
    read = {
        name: own.results.curves(keys, column, _column(splits[name]), MOST_STEPS)
        for name, own in studies.items()
    }
    notes = [
        f"{name}: {note}"
        for name, logged in read.items()
        if (note := curves_note(logged, studies[name].header.runs))
    ]
    found = []
    for key in keys:
        lines: dict[str, list[Line]] = {}
        for name, logged in read.items():
            for part, own in by_part(splits[name], logged.lines.get(key, ())).items():
                labels = [short_value(line.group) if column else name for line in own]
                lines.setdefault(part, []).extend(map(curve_line, labels, own))
        for part, every in lines.items():
            svg = line_chart(every[:COLOURS], "step", key, band=True, size=(480.0, 260.0))
            told = " ".join([*notes, *left, *some_shown(len(every), "lines")])
            found.append((f"{key}, {part}" if part else key, svg, told))
    return found


def _column(param: Param | None) -> Column | None:
    return None if param is None else param.column


def _notes(studies: Mapping[str, Study], metric: str) -> list[str]:
    """Return which runs are not in the comparison."""
    notes = []
    for name, study in studies.items():
        read, runs = len(study.sample), study.header.runs
        if study.is_sampled:
            notes.append(f"{name}: of {read:,} runs, spread evenly, as there are {runs:,}.")
        missing = int(study.sample[metric].isna().sum()) if metric in study.sample else 0
        if missing:
            notes.append(f"{name}: no {metric} in {missing:,} of {counted(read, 'run')}; left out.")
    return notes


def _parts_left(studies: Mapping[str, Study], asked: _Asked) -> list[str]:
    """Return of which experiments some parts are not shown."""
    if _split(studies, asked) is None:
        return []
    told = ((name, parts_left(study.split)) for name, study in studies.items())
    return [f"{name}: {note}" for name, note in told if note]


def _differing(studies: Mapping[str, Study]) -> list[tuple[str, list[str]]]:
    """Return the params whose values are not the same in all experiments, with these values."""
    found: dict[str, list[str]] = {}
    for place, study in enumerate(studies.values()):
        for own in study.columns:
            if own.source == "param":
                values = found.setdefault(own.name, [""] * len(studies))
                values[place] = _levels(study, own.name)
    return [(name, values) for name, values in found.items() if len(set(values)) > 1]


def _levels(study: Study, name: str) -> str:
    levels = study.sample[name].dropna().drop_duplicates().tolist()
    with suppress(TypeError):  # of different types
        levels.sort()
    shown = ", ".join(map(shown_value, levels[:MOST_LEVELS]))
    left = len(levels) - MOST_LEVELS
    return f"{shown}, and {left:,} more" if left > 0 else shown
