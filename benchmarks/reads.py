"""Reading few of many runs, beside the same SELECT by an index through the same driver."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.report import CPU, WALL, Line, by_turns, milliseconds
from mltraq_prefect import Session, create_session
from mltraq_prefect.storage.tables.ledger import LEDGER
from tests import growth

CHOSEN = 100
TURNS = 500
BUDGET = 2.0

HEADINGS = ("work", "ours", "SELECT", "ours, wall", "SELECT, wall")

_COLUMNS = ", ".join(["e.*", *(f"r.{name}" for name in LEDGER if name != "id_experiment")])


def lines(url: str) -> list[Line]:
    """Return the lines of a database of `tests.growth`: by a condition, and what is pending."""
    plain = _Plain(url)
    with create_session(url) as session:
        _add_pending(session)
        first, last = plain.chosen()
        params = {"first": first, "last": last}

        def where() -> Any:
            return session.load(growth.NAME, where="id_run BETWEEN :first AND :last", params=params)

        def pending() -> Any:
            return session.load(growth.NAME, pending="score")

        assert len(where().runs) == len(pending().runs) == CHOSEN
        return [
            _line(f"load(where=) of {CHOSEN}", where, plain.by_id(first, last)),
            _line(f"load(pending=) of {CHOSEN}", pending, plain.by_position()),
        ]


def _add_pending(session: Session) -> None:
    """Add runs on which a step can be tried, until they are as many as are read."""
    there = len(session.load(growth.NAME, pending="score", columns=[]).runs)
    more = session.add_experiment(growth.NAME).add_runs(n=range(10**9, 10**9 + CHOSEN - there))
    more.execute(growth.toss, backend="local").persist(if_exists="merge")


def _line(work: str, ours: Callable[[], Any], plain: Callable[[], Any]) -> Line:
    spent = [s for clock in (CPU, WALL) for s in by_turns(ours, plain, turns=TURNS, clock=clock)]
    return Line((work, *map(milliseconds, spent)), spent[0] / spent[1], BUDGET, "speed.md")


class _Plain:
    """The driver's own connection, which stays open, as that of a session does."""

    def __init__(self, url: str) -> None:
        self._is_server = growth.is_postgresql(url)
        if self._is_server:
            parsed = sa.make_url(url).set(drivername="postgresql")
            text = parsed.render_as_string(hide_password=False)
            self._connection: Any = psycopg.connect(text)
        else:
            self._connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        self._id = self._rows("SELECT id_experiment FROM experiments")[0][0]

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows, in a transaction of their own."""
        marked = sql.replace("?", "%s") if self._is_server else sql
        found: list[Any] = self._connection.execute(marked, tuple(parameters)).fetchall()
        self._connection.rollback()
        return found

    def chosen(self) -> tuple[str, str]:
        """Return the first and last id of some runs in the middle."""
        sql = "SELECT id_run FROM e_grown WHERE id_run > '5' ORDER BY id_run LIMIT ?"
        ids = [id_run for (id_run,) in self._rows(sql, (CHOSEN,))]
        return ids[0], ids[-1]

    def by_id(self, first: str, last: str) -> Callable[[], list[Any]]:
        """Return what reads runs by their key."""
        sql = (
            f"SELECT {_COLUMNS} FROM e_grown AS e JOIN experiment_runs AS r "
            "ON r.id_experiment = ? AND r.id_run = e.id_run WHERE e.id_run BETWEEN ? AND ?"
        )
        return lambda: self._rows(sql, (self._id, first, last))

    def by_position(self) -> Callable[[], list[Any]]:
        """Return what reads the runs that are pending, whose positions somebody has told."""
        where = "WHERE id_experiment = ? AND steps NOT LIKE '%score%'"
        sql = f"SELECT first_position, last_position FROM experiment_standings {where}"
        if self._is_server:
            sql = sql.replace("%", "%%")
        places = self._rows(sql, (self._id,))
        rows = (
            f"SELECT {_COLUMNS} FROM experiment_runs AS r JOIN e_grown AS e "
            "ON e.id_run = r.id_run WHERE r.id_experiment = ? AND r.position BETWEEN ? AND ?"
        )
        values = [value for place in places for value in (self._id, *place)]
        return lambda: self._rows(" UNION ALL ".join([rows] * len(places)), values)
