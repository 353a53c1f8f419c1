"""What operations cost by counts, and experiments that have grown by copies of their runs.

The counts are of the database: machine instructions of SQLite, and blocks and rows of PostgreSQL.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.errors import ExperimentNotFound
from mltraq_prefect.reports.study.study import Study
from mltraq_prefect.reports.summary import summary
from mltraq_prefect.storage import Store

NAME = "grown"
PENDING = 4
"""Runs on which the step `score` can be tried, and runs that are added at once."""
INSTRUCTIONS = 20
"""So many of SQLite are counted as one."""

TABLES = ("experiment_runs", "experiment_run_steps", "e_grown")

Counts = dict[str, int]


def toss(run: mltraq.Run) -> None:
    run.fields.heads = run.params.n % 2
    run.fields.note = "a text " * 20


def score(run: mltraq.Run) -> None:
    run.fields.score = float(run.fields.heads)


def make(url: str, runs: int) -> None:
    """Make an experiment in which all runs have completed `toss`, and all but some `score`."""
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment(NAME).add_runs(n=range(runs))
        experiment.execute(toss, backend="local").persist()
        done = session.load(NAME)
        for run in [*done.runs.values()][-PENDING:]:
            del done.runs[run.id_run]
        done.execute(score, backend="local").persist(if_exists="merge")


def grow(url: str, copies: int) -> None:
    """Add copies of the runs that have completed all steps, by statements on whole tables."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:

        def run(sql: str) -> None:
            connection.exec_driver_sql(sql)

        one = "SELECT id_experiment FROM experiments WHERE table_name = 'e_grown'"
        id_experiment = connection.exec_driver_sql(one).scalar_one()
        last = f"SELECT max(position) FROM experiment_runs WHERE id_experiment = '{id_experiment}'"
        stride = 1 + connection.exec_driver_sql(last).scalar_one()
        scored = f"SELECT id_run FROM experiment_run_steps WHERE id_experiment = '{id_experiment}'"
        scored = f"id_run IN ({scored} AND step_key = 'score')"
        numbers = (
            "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            f"WHERE i < {copies}) SELECT i FROM n) AS n"
        )
        new = {"id_run": f"i || '.{stride}:' || id_run", "position": f"position + i * {stride}"}
        for table in TABLES:
            columns = sa.inspect(connection).get_columns(table)
            names = [column["name"] for column in columns if "computed" not in column]
            cells = ", ".join(new.get(name, name) for name in names)
            own = "" if table == "e_grown" else f" AND id_experiment = '{id_experiment}'"
            run(
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {cells} FROM {table} AS t, "
                f"{numbers} WHERE {scored}{own}"
            )
        for table in TABLES if is_postgresql(url) else ():
            run(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")  # it would count, too
        counted = f"(SELECT count(*) FROM experiment_runs WHERE id_experiment = '{id_experiment}'"
        run(
            f"UPDATE experiments SET run_count = {counted}), completed = {counted} "
            f"AND state = 'completed') WHERE id_experiment = '{id_experiment}'"
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if is_postgresql(url) else "SELECT 1")
    engine.dispose()
    store = Store(url)
    store.repair(NAME)
    store.close()
    _opened(url)  # the first connection afterwards reads the whole catalogue


def crowd(url: str, experiments: int) -> None:
    """Add copies of the experiment without their runs, each with a table of its own."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    names = [f"{NAME}_{number}" for number in range(experiments)]
    with engine.begin() as connection:
        columns = [own["name"] for own in sa.inspect(connection).get_columns("experiments")]
        new = {"id_experiment": ":id", "name": ":name", "table_name": ":table"}
        cells = ", ".join(new.get(column, column) for column in columns)
        copy = f"INSERT INTO experiments ({', '.join(columns)}) SELECT {cells} FROM experiments"
        keys = [{"id": name, "name": name, "table": f"e_{name}"} for name in names]
        connection.execute(sa.text(f"{copy} WHERE table_name = 'e_grown'"), keys)
        empty = "(id_run VARCHAR(36) PRIMARY KEY, heads BIGINT, note TEXT)"
        for name in names:
            connection.exec_driver_sql(f"CREATE TABLE e_{name} {empty}")
    engine.dispose()
    _opened(url)


def is_postgresql(url: str) -> bool:
    """Return whether a URL is of PostgreSQL."""
    return url.startswith("postgresql")


# -- operations ------------------------------------------------------------------------------------


def _opened(url: str) -> None:
    mltraq.create_session(url).close()


def _in_session(work: Callable[[mltraq.Session], object]) -> Callable[[str], None]:
    def operation(url: str) -> None:
        with mltraq.create_session(url) as session:
            work(session)

    return operation


def _merge(session: mltraq.Session) -> None:
    more = session.add_experiment(NAME).add_runs(n=_unused(session))
    more.execute(toss, backend="local").persist(if_exists="merge")


def _checkpoint(session: mltraq.Session) -> None:
    more = session.add_experiment(NAME).add_runs(n=_unused(session))
    more.execute(toss, backend="local", checkpoint=True)


def _evaluate(session: mltraq.Session) -> None:
    found = session.load(NAME, pending="score", columns=["heads"])
    for run in [*found.runs.values()][PENDING:]:
        del found.runs[run.id_run]
    assert len(found.runs) == PENDING
    found.execute(score, backend="local").persist(if_exists="merge")


def _unused(session: mltraq.Session) -> range:
    """Return values of a param that no run has."""
    sql = "SELECT revision FROM experiments WHERE table_name = 'e_grown'"
    first = 10**9 + 100 * int(session.query(sql)["revision"][0])
    return range(first, first + PENDING)


def _where(session: mltraq.Session) -> None:
    sql = "SELECT id_run FROM experiment_runs WHERE id_experiment = :id AND position < :count"
    known = {"id": session.query("SELECT id_experiment FROM experiments").iat[0, 0]}
    ids = session.query(sql, params=known | {"count": PENDING})["id_run"]
    params = dict(zip("abcd", ids, strict=True))
    where = "id_run IN (:a, :b, :c, :d) AND n >= 0"
    assert len(session.load(NAME, where=where, params=params).runs) == PENDING


def _missing(session: mltraq.Session) -> None:
    with contextlib.suppress(ExperimentNotFound):
        session.load("no such experiment")


def _summary(url: str) -> None:
    store = Store(url)
    summary(Study(store.results(NAME, last=50)))
    store.close()


OPERATIONS: Mapping[str, Callable[[str], None]] = {
    "open a session": _opened,
    "load what is not there": _in_session(_missing),
    "ls()": _in_session(lambda session: session.ls()),
    "ls(pending=)": _in_session(lambda session: session.ls(pending="score")),
    "load(pending=)": _in_session(lambda session: session.load(NAME, pending="score")),
    "load(where=)": _in_session(_where),
    f"merge of {PENDING} new runs": _in_session(_merge),
    f"checkpoints of {PENDING} new runs": _in_session(_checkpoint),
    f"evaluation of {PENDING} runs": _in_session(_evaluate),
    "summary of the last runs": _summary,
}
"""What shall cost the same whatever is stored beside it."""


# -- counts ----------------------------------------------------------------------------------------


def counted(url: str, operation: Callable[[str], None]) -> Counts:
    """Return what an operation makes the database do."""
    if is_postgresql(url):
        before = _of_postgresql(url)
        operation(url)
        after = _of_postgresql(url)
        return {name: after[name] - before[name] for name in after}
    with _instructions() as found:
        operation(url)
    return found


@contextlib.contextmanager
def _instructions() -> Iterator[Counts]:
    found = {"instructions": 0}

    def count() -> int:
        found["instructions"] += INSTRUCTIONS
        return 0

    def begin(connection: Any, _record: object) -> None:
        connection.set_progress_handler(count, INSTRUCTIONS)

    sa.event.listen(sa.pool.Pool, "connect", begin)
    try:
        yield found
    finally:
        sa.event.remove(sa.pool.Pool, "connect", begin)


def _of_postgresql(url: str) -> Counts:
    """Return the statistics of a database: those of a session are there once it is closed."""
    sql = (
        "SELECT blks_read + blks_hit AS blocks, tup_returned + tup_fetched AS read, "
        "tup_inserted + tup_updated + tup_deleted AS written "
        "FROM pg_stat_database WHERE datname = current_database()"
    )
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
    others = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        while connection.exec_driver_sql(others).scalar_one():
            time.sleep(0.01)
        found = dict(connection.exec_driver_sql(sql).mappings().one())
        wal = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
        found["bytes"] = int(connection.exec_driver_sql(wal).scalar_one())
    engine.dispose()
    return found
