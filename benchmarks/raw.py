"""The drivers without this package: what rows cost at least.

The rows are those of this package, in tables as it has them, with their keys and indexes: made of
the same runs by a program for these tables alone, that checks and compares nothing.
"""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import psycopg
import sqlalchemy as sa

from benchmarks.runs import FIELDS
from mltraq_prefect.model.run import Run

Row = tuple[Any, ...]
Columns = dict[str, str]
"""Names of columns, with what COPY calls their types."""

RUNS: Columns = {"id_run": "text", **FIELDS}
_FACTS: Columns = {
    "error": "text",
    "error_type": "text",
    "attempts": "int8",
    "started_at": "timestamp",
    "duration_s": "float8",
    "flow_run_id": "text",
    "task_run_id": "text",
    "cpu_s": "float8",
    "peak_rss_bytes": "int8",
    "worker": "text",
    "id_execution": "text",
}
_KEY: Columns = {"id_experiment": "text", "id_run": "text", "position": "int8"}
LEDGER: Columns = _KEY | dict.fromkeys(("params", "state", "steps", "step"), "text") | _FACTS
STEPS: Columns = _KEY | dict.fromkeys(("step_key", "step", "state", "fingerprint"), "text") | _FACTS

TABLES = {"e_bench": RUNS, "experiment_runs": LEDGER, "experiment_run_steps": STEPS}


def rows_of(runs: Sequence[Run]) -> dict[str, Iterator[Row]]:
    """Return the rows of each table, which are made as they are asked for."""
    key = str(uuid.uuid4())
    made = (_run_row(run) for run in runs), _ledger_rows(key, runs), _step_rows(key, runs)
    return dict(zip(TABLES, made, strict=True))


def _run_row(run: Run) -> Row:
    return (run.id_run, *run.fields.values())


def _ledger_rows(key: str, runs: Sequence[Run]) -> Iterator[Row]:
    for position, run in enumerate(runs):
        entry = run.ledger
        params, steps = orjson.dumps(run.params).decode(), orjson.dumps(entry.steps).decode()
        outcome = params, entry.state, steps, entry.step
        yield (key, run.id_run, position, *outcome, *_facts(entry))


def _step_rows(key: str, runs: Sequence[Run]) -> Iterator[Row]:
    for position, run in enumerate(runs):
        for step, entry in run.ledger.executed.items():
            outcome = step, step, entry.state, entry.fingerprint
            yield (key, run.id_run, position, *outcome, *_facts(entry))


def _facts(entry: Any) -> Row:
    return (
        entry.error,
        entry.error_type,
        entry.attempts,
        entry.started_at.replace(tzinfo=None),
        entry.duration_s,
        entry.flow_run_id,
        entry.task_run_id,
        entry.cpu_s,
        entry.peak_rss_bytes,
        entry.worker,
        entry.id_execution,
    )


def write(url: str, model: str, rows: Mapping[str, Iterator[Row] | Sequence[Row]]) -> None:
    """Make tables and write their rows in one transaction.

    Args:
        url: An empty database.
        model: The database of this package in which there are such tables.
        rows: Their rows.
    """
    if url.startswith("sqlite"):
        _insert(url, model, rows)
    else:
        _copy(url, model, rows)


def _insert(url: str, model: str, rows: Mapping[str, Iterator[Row] | Sequence[Row]]) -> None:
    sqlite3.register_adapter(dt.datetime, str)
    connection = sqlite3.connect(_path(url))
    with connection:
        for sql in _definitions(model):
            connection.execute(sql)
        for table, own in rows.items():
            columns = TABLES[table]
            marks = ", ".join("?" * len(columns))
            names = ", ".join(columns)
            connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", own)
    connection.close()


def _definitions(model: str) -> list[str]:
    marks = ", ".join("?" * len(TABLES))
    sql = f"SELECT sql FROM sqlite_schema WHERE tbl_name IN ({marks}) ORDER BY type DESC"
    connection = sqlite3.connect(_path(model))
    found = [text for (text,) in connection.execute(sql, tuple(TABLES)) if text]
    connection.close()
    return found


def _copy(url: str, model: str, rows: Mapping[str, Iterator[Row] | Sequence[Row]]) -> None:
    """Write by COPY in its binary format, the faster one; an index of a new table comes last."""
    connection = _psycopg(model)
    ((schema,),) = connection.execute("SELECT current_schema()").fetchall()
    connection.close()
    connection = _psycopg(url)
    with connection, connection.cursor() as cursor:
        for table, own in rows.items():
            shared = "INCLUDING ALL" + (" EXCLUDING INDEXES" if table == "e_bench" else "")
            cursor.execute(f"CREATE TABLE {table} (LIKE {schema}.{table} {shared})")
            columns = TABLES[table]
            names = ", ".join("params_text" if name == "params" else name for name in columns)
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([*columns.values()])
                for row in own:
                    copy.write_row(row)
        cursor.execute("ALTER TABLE e_bench ADD PRIMARY KEY (id_run)")
    connection.close()


def read(url: str) -> list[dict[str, Any]]:
    """Return the runs that this package has written: SELECT, `fetchall`, a dict a row."""
    connection: Any = sqlite3.connect(_path(url)) if url.startswith("sqlite") else _psycopg(url)
    cursor = connection.execute(f"SELECT {', '.join(RUNS)} FROM e_bench")
    names = [column[0] for column in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    connection.close()
    return found


def to_sql(url: str, fields: Sequence[dict[str, Any]]) -> None:
    """Write a frame of the fields with pandas."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        pd.DataFrame(fields).to_sql("frame", connection, index=False)
    engine.dispose()


def server_clock(url: str) -> Callable[[], float]:
    """Return what tells how long the processor has worked for all processes of a server.

    Linux only; the server is on this machine. SQLite has none.
    """
    if url.startswith("sqlite"):
        return lambda: 0.0
    connection = _psycopg(url)
    sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
    ((child,),) = connection.execute(sql).fetchall()
    connection.close()
    own = _stat(child)[1]
    ticks = os.sysconf("SC_CLK_TCK")

    def seconds() -> float:
        time.sleep(0.1)  # who has just ended counts when it is waited for
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        found = [_stat(pid) for pid in pids]
        working = sum(sum(stat[11:13]) for stat in found if stat[1:2] == [own])
        return (working + sum(_stat(own)[11:15])) / ticks

    return seconds


def _stat(pid: int) -> list[int]:
    """Return what follows the name in a process's line of proc(5); nothing if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return []
    _, *numbers = text.rpartition(")")[2].split()
    return [0, *map(int, numbers)]


def _path(url: str) -> str:
    return url.removeprefix("sqlite:///")


def _psycopg(url: str) -> psycopg.Connection[Any]:
    parsed = sa.make_url(url).set(drivername="postgresql")
    return psycopg.connect(parsed.render_as_string(hide_password=False))
