"""The summary of an experiment as Markdown: counts, the best configurations, failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from mltraq_prefect.reports.html.pictures import markdown_picture
from mltraq_prefect.reports.numbers import PERCENT
from mltraq_prefect.reports.study.effects import Drawn, heat_maps, history, leading
from mltraq_prefect.reports.study.failures import failures
from mltraq_prefect.reports.study.leaderboard import Leaderboard, leaderboards
from mltraq_prefect.reports.study.study import Study, shown_value
from mltraq_prefect.reports.wording import duration, measured_cell
from mltraq_prefect.texts import counted

LEGEND = "Mean ± standard error; in brackets how many have a finite value, where not all runs do."
LIKE_BEST = (
    f"≈ is not significantly worse than the first (Welch's t test, Holm's adjustment, {PERCENT})."
)

UNSURE = "? cannot be told: too few values, or they do not vary."

MOST_METRICS = 4
"""In one table: with more, it does not fit beside the names of configurations."""

MOST_BYTES = 200_000
"""A summary has no more, whatever the experiment."""

PICTURE_BYTES = 120_000
"""Room for pictures in it."""

MOST_SLOTS = 50
"""Of a time, the last ones."""
MOST_SLOT_ROWS = 4 * MOST_SLOTS
"""Of these, if the work has parts."""

MOST_ERRORS = 10
MOST_FAILED = 500
"""Failed runs whose errors are read."""

CUT = "Further tables are left out: ask the database."


def summary(study: Study, page: str | None = None) -> str:
    """Return the summary of an experiment.

    Args:
        study: What is known of it.
        page: Address of its results page; None if there is none.
    """
    parts = [f"# {escaped(study.header.name)}"]
    if page is not None:
        parts.append(f"[Results page]({page})")
    parts.append(_counts(study))
    last = f"The same in SQL, one row a run:\n\n```sql\n{study.results.statement()}\n```"
    left = MOST_BYTES - sum(len(part.encode()) + 2 for part in (*parts, last, CUT))
    room = PICTURE_BYTES
    for part in _parts(study):
        size = len(part.encode()) + 2
        if part.startswith("!["):
            room -= size
            if room < 0:
                continue
        left -= size
        if left < 0:
            parts.append(CUT)
            break
        parts.append(part)
    return "\n\n".join([*parts, last])


def _counts(study: Study) -> str:
    header = study.header
    rows = ["| table | runs | state | total compute | mean of a run | longest run |"]
    rows.append("|---|---:|---|---:|---:|---:|")
    for state, total in header.states.items():
        times = (total.total_s, total.total_s / total.runs, total.longest_s)
        cells = " | ".join(map(duration, times))
        rows.append(f"| {code(header.table)} | {total.runs:,} | {state} | {cells} |")
    return "\n".join(rows)


def _parts(study: Study) -> Iterator[str]:
    if study.metric is not None and study.results.corrupt:
        corrupt = counted(study.results.corrupt, "run")
        yield f"The params of {corrupt} are corrupt: here they are missing."
    if study.is_cut:
        read, runs = study.header.read, counted(study.header.runs, "run")
        yield f"What follows is of the last {read:,} of {runs}: ask the database for all."
    metric = study.metric
    if metric is not None:
        boards = leaderboards(study)
        best = "lowest" if study.lower else "highest"
        yield f"## {escaped(metric.name)}, {best} first"
        for board in boards:
            yield from _board(study, board)
        if (left := study.parts - len(boards)) > 0:
            yield f"{left:,} more parts have fewer runs."
        if any(row.runs > 1 for board in boards for row in board.rows):
            is_marked = any(board.is_marked for board in boards)
            is_unsure = any(board.is_unsure for board in boards)
            told = [LEGEND, *[LIKE_BEST] * is_marked, *[UNSURE] * is_unsure]
            yield " ".join(told)
        yield from _figures(study)
    yield from _failures(study)


def _board(study: Study, board: Leaderboard) -> Iterator[str]:
    if board.panel:
        yield f"### {escaped(board.panel)}"
    if not board.rows:
        return
    drawn = leading(study, board)
    if drawn.svg:
        yield _picture(drawn)
    yield _table(board)
    if board.total > len(board.rows):
        left = board.total - len(board.rows)
        yield f"The best {len(board.rows)} of {board.total:,} configurations; {left:,} more."


def _picture(drawn: Drawn) -> str:
    picture = markdown_picture(drawn.svg, escaped(drawn.title))
    return f"{picture}\n\n{escaped(drawn.note)}" if drawn.note else picture


def _table(board: Leaderboard) -> str:
    metrics = board.metrics[:MOST_METRICS]
    has_failed = any(row.failed for row in board.rows)
    marks = [""] if board.is_marked else []
    head = [*(code(own.name) for own in metrics), *marks, "configuration", "runs"]
    rules = ["---:"] * len(metrics) + ["---"] * len(marks) + ["---", "---:"]
    if has_failed:
        head, rules = [*head, "failed"], [*rules, "---:"]
    rows = [head, rules]
    for row in board.rows:
        cells = [
            measured_cell(cell, row.runs, own)
            for cell, own in zip(row.cells, metrics, strict=False)
        ]
        marks = [board.mark(row)] if board.is_marked else []
        failed = [f"{row.failed:,}" if row.failed else ""] if has_failed else []
        rows.append([*cells, *marks, escaped(row.label), f"{row.runs:,}", *failed])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _figures(study: Study) -> Iterator[str]:
    """Yield what else there is to see: the metric over time, or over the only two params."""
    drawn = [] if study.is_alone("time") else history(study)
    if len(study.grouping) == 2 and all(own.kind == "number" for own in study.grouping):
        drawn = [*heat_maps(study), *drawn]
    for own in drawn:
        yield f"### {escaped(own.title)}"
        yield _picture(own)
    yield from _slots(study)


def _slots(study: Study) -> Iterator[str]:
    """Yield the metric at the last values of a param that is a time, the latest first."""
    time = next((own for own in study.params if own.kind == "time"), None)
    if time is None or study.metric is None:
        return
    parts = [own for own in (study.split,) if own is not None]
    last = time.levels[-MOST_SLOTS:]
    rows = study.sample[study.sample[time.name] >= last[0]]
    keys = [time.name, *(own.name for own in parts)]
    found = rows.groupby(keys, dropna=False)[study.metric.name]
    columns = (found.mean(), found.sem(), found.count(), found.size())
    head = [code(study.metric.name), *(code(own.label) for own in (time, *parts)), "runs"]
    table = [head, ["---:", "---", *["---"] * len(parts), "---:"]]
    cells = list(zip(columns[0].index, *columns, strict=True))
    for key, mean, error, count, size in reversed(cells[-MOST_SLOT_ROWS:]):
        values = key if isinstance(key, tuple) else (key,)
        measured = measured_cell((mean, error, int(count)), int(size), study.metric)
        names = ["-" if pd.isna(value) else escaped(shown_value(value)) for value in values]
        table.append([measured, *names, f"{size:,}"])
    of_all = f" of {len(time.levels):,}" if len(time.levels) > MOST_SLOTS else ""
    yield f"### The last {len(last):,}{of_all} values of {escaped(time.label)}"
    yield "\n".join(f"| {' | '.join(row)} |" for row in table)
    if (left := len(cells) - MOST_SLOT_ROWS) > 0:
        yield f"The last {MOST_SLOT_ROWS} of {len(cells):,} rows of these; {left:,} more."


def _failures(study: Study) -> Iterator[str]:
    found = failures(study, MOST_FAILED)
    if not found.failed:
        return
    yield f"## {found.failed:,} run{'' if found.failed == 1 else 's'} failed"
    rows = [["runs", "error", "in", "such as"], ["---:", "---", "---", "---"]]
    for group in found.groups[:MOST_ERRORS]:
        where = code(group.place) if group.place else ""
        rows.append([f"{group.count:,}", _cell(group.message), where, _first(group.examples)])
    if len(rows) > 2:
        yield "\n".join(f"| {' | '.join(row)} |" for row in rows)
    left = len(found.groups) - MOST_ERRORS
    if left > 0:
        yield f"{left:,} other errors are left out."
    if found.read < found.failed:
        yield f"Of the first {found.read:,} of {found.failed:,} failed runs."


def _cell(text: str) -> str:
    return escaped(text) or "-"


def _first(examples: Sequence[str]) -> str:
    return escaped(examples[0]) if examples else ""


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in a table too."""
    line = _shown(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|*_[]`#~$":
        line = line.replace(mark, f"\\{mark}")
    return line


def code(text: str) -> str:
    """Return text as code, in a table too."""
    return "`" + _shown(text).replace("`", "'").replace("|", "\\|") + "`"


def _shown(text: str, limit: int = 160) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
