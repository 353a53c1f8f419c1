"""Pages of very many runs: seconds of a request, beside the SQL that answers the same of all runs.

Run as ``python -m benchmarks pages``; with ``--quick`` on 10,000 runs, else on 1,000,000. The last
column says which pages take longer than a person waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import sqlalchemy as sa

import mltraq_prefect as mltraq
from benchmarks.growth import DATABASES
from benchmarks.report import WALL, Line, Quoted, Table, fastest, in_seconds
from mltraq_prefect.errors import RunsFailed
from mltraq_prefect.storage import Store
from mltraq_prefect.ui.app import make_app

NAME = "study"
FEW, MANY = 10_000, 1_000_000
FIRST = 1_000
"""Runs that are executed; the others are copies of them, with metrics of their own."""

SECONDS = 3.0
"""A page takes so long at most."""

MOMENTS = "COUNT(e.loss), AVG(e.loss), SUM(e.loss * e.loss)"
TABLES = ("e_study", "s_study", "experiment_runs", "experiment_run_steps", "experiment_series")


class Page(NamedTuple):
    """A page, and what a person would ask the database instead.

    Attributes:
        name: What it is called here.
        address: Its address, in which ``{deep}`` is the number of a page in the middle.
        sql: The statement: ``{runs}`` is both tables joined.
    """

    name: str
    address: str
    sql: str


def _runs(rest: str = "") -> str:
    return f"/experiments/e_study/runs?{rest}"


PAGES = (
    Page(
        "leaderboard",
        "/experiments/e_study/leaderboard",
        f"SELECT {{model}}, {{lr}}, {MOMENTS} FROM {{runs}} GROUP BY 1, 2 ORDER BY 4 LIMIT 20",
    ),
    Page(
        "leaderboard of all",
        "/experiments/e_study/leaderboard?all=1",
        f"SELECT {{model}}, {{lr}}, {MOMENTS} FROM {{runs}} GROUP BY 1, 2 ORDER BY 4 LIMIT 20",
    ),
    Page("runs", _runs(), "SELECT * FROM {runs} ORDER BY r.position LIMIT 50"),
    Page(
        "runs, in the middle",
        _runs("page={deep}"),
        "SELECT * FROM {runs} ORDER BY r.position LIMIT 50 OFFSET {offset}",
    ),
    Page(
        "runs, filtered",
        _runs(f"f={quote('loss:lt:0.5')}"),
        "SELECT * FROM {runs} WHERE e.loss < 0.5 ORDER BY r.position LIMIT 50",
    ),
    Page(
        "runs, filtered by a param",
        _runs(f"f={quote('model:is:svc')}"),
        "SELECT * FROM {runs} WHERE {model} = 'svc' ORDER BY r.position LIMIT 50",
    ),
    Page(
        "runs, filtered, few",
        _runs(f"f={quote('loss:lt:0.0001')}"),
        "SELECT * FROM {runs} WHERE e.loss < 0.0001 ORDER BY r.position LIMIT 50",
    ),
    Page("runs, sorted", _runs("sort=loss"), "SELECT * FROM {runs} ORDER BY e.loss LIMIT 50"),
    Page(
        "runs, sorted by a param",
        _runs("sort=lr&desc=1"),
        "SELECT * FROM {runs} ORDER BY {lr} DESC LIMIT 50",
    ),
    Page(
        "runs, sorted, in the middle",
        _runs("sort=loss&page={deep}"),
        "SELECT * FROM {runs} ORDER BY e.loss LIMIT 50 OFFSET {offset}",
    ),
    Page(
        "effects",
        "/experiments/e_study/effects",
        f"SELECT {{model}}, {MOMENTS} FROM {{runs}} GROUP BY 1",
    ),
    Page(
        "importance",
        "/experiments/e_study/importance",
        f"SELECT {{lr}}, {MOMENTS} FROM {{runs}} GROUP BY 1",
    ),
    Page(
        "parallel coordinates",
        "/experiments/e_study/parallel",
        f"SELECT {{lr}}, {MOMENTS} FROM {{runs}} GROUP BY 1",
    ),
    Page(
        "curves",
        "/experiments/e_study/curves",
        "SELECT s.step, COUNT(*), AVG(s.training) FROM s_study AS s GROUP BY 1 ORDER BY 1",
    ),
    Page(
        "history",
        "/experiments/e_study/history",
        f"SELECT {{day}}, {MOMENTS} FROM {{runs}} GROUP BY 1 ORDER BY 1",
    ),
    Page(
        "failures",
        "/experiments/e_study/failures",
        "SELECT r.error, COUNT(*) FROM {runs} WHERE r.state = 'failed' GROUP BY 1 ORDER BY 2 DESC",
    ),
    Page(
        "compare groups",
        "/compare?e=e_study",
        f"SELECT {{model}}, {MOMENTS} FROM {{runs}} GROUP BY 1",
    ),
    Page("experiments", "/", "SELECT * FROM experiments"),
)


def tables(quick: bool) -> Iterator[Table]:
    """Yield a table for each database; `quick` takes fewer runs."""
    logging.getLogger("mltraq_prefect").setLevel(logging.ERROR)
    runs = FEW if quick else MANY
    for name, database in DATABASES.items():
        with database() as url:
            make(url, runs)
            title = f"{name}: pages of {runs:,} runs, in seconds, beside SQL of all runs"
            quoted: Quoted = "speed.md" if name == "SQLite" else ""
            yield Table(title, ("page", "page", "SQL"), lines(url, runs, quoted))


def lines(url: str, runs: int, quoted: Quoted) -> list[Line]:
    """Return the line of each page: its ratio is to the seconds that it may take."""
    store = Store(url)
    engine = sa.create_engine(url)
    app = httpx.ASGITransport(make_app(store))
    with engine.connect() as connection:
        found = [_line(page, app, connection, runs, quoted) for page in PAGES]
    engine.dispose()
    store.close()
    return found


def _line(
    page: Page, app: httpx.ASGITransport, connection: sa.Connection, runs: int, quoted: Quoted
) -> Line:
    deep = runs // 100  # of pages of 50
    address = page.address.replace("{deep}", str(deep))
    sql = page.sql.format(**_expressions(connection), offset=50 * (deep - 1))

    async def asked() -> None:
        async with httpx.AsyncClient(transport=app, base_url="http://localhost") as client:
            (await client.get(address)).raise_for_status()

    spent = fastest(lambda: asyncio.run(asked()), _all(connection, sql), repeats=2, clock=WALL)
    return Line((page.name, *map(in_seconds, spent)), spent[0] / SECONDS, 1, quoted)


def _all(connection: sa.Connection, sql: str) -> Callable[[], Any]:
    return lambda: connection.exec_driver_sql(sql.replace("%", "%%")).all()


def _expressions(connection: sa.Connection) -> dict[str, str]:
    one = "(SELECT id_experiment FROM experiments WHERE table_name = 'e_study')"
    joined = f"e_study AS e JOIN experiment_runs AS r ON r.id_experiment = {one}"
    if connection.dialect.name == "postgresql":
        lr, model, day = "(r.params ->> 'lr')::float", "r.params ->> 'model'", "r.params ->> 'day'"
    else:
        model, lr, day = (f"json_extract(r.params, '$.{key}')" for key in ("model", "lr", "day"))
    return {"runs": f"{joined} AND r.id_run = e.id_run", "model": model, "lr": lr, "day": day}


# -- the runs --------------------------------------------------------------------------------------


def train(run: mltraq.Run) -> None:
    """Fail for one run in fifty; else log a curve, and track metrics."""
    if run.params.seed == 7:
        raise ValueError("no convergence")
    level = run.rng.random()
    for step in range(5):
        run.log(step, training=level / (1 + step))
    run.fields.loss, run.fields.accuracy = level, 1 - level
    run.fields.epochs, run.fields.note = 5, f"seed {run.params.seed}"


def make(url: str, runs: int) -> None:
    """Write an experiment of so many runs, a multiple of a thousand."""
    days = [dt.date(2026, 1, day) for day in (1, 2)]
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment(NAME)
        experiment.add_runs(
            model=["svc", "tree"], lr=[0.1, 0.01, 0.001, 1.0, 10.0], day=days, seed=range(50)
        )
        assert len(experiment.runs) == FIRST
        with contextlib.suppress(RunsFailed):
            experiment.execute(train, backend="local", on_error="keep").persist()
    _copy(url, runs // FIRST - 1)
    store = Store(url)
    store.repair(NAME)
    store.close()


def _copy(url: str, copies: int) -> None:
    """Add copies of all runs, by statements on whole tables."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    numbers = (
        "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < {copies}) SELECT i FROM n) AS n"
    )
    new = {
        "id_run": "i || '.' || id_run",
        "position": f"position + i * {FIRST}",
        "loss": f"loss * (1 + 1.0 * i / {max(copies, 1)}) / 2",
    }
    with engine.begin() as connection:
        for table in TABLES:
            columns = sa.inspect(connection).get_columns(table)
            names = [own["name"] for own in columns if "computed" not in own]
            cells = ", ".join(new.get(name, name) for name in names)
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {cells} FROM {table}, {numbers}"
            )
        counts = ", ".join(
            f"{name} = {name} * {copies + 1}" for name in ("run_count", "completed", "failed")
        )
        connection.exec_driver_sql(f"UPDATE experiments SET {counts}")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        is_server = connection.dialect.name == "postgresql"
        connection.exec_driver_sql("VACUUM ANALYZE" if is_server else "ANALYZE")
    engine.dispose()
