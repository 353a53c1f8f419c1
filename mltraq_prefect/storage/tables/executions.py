"""Rows of `experiment_executions`: where the results of an execution come from.

Kwargs are exact, as envelopes. Large ones, and what git says was changed, are in
`experiment_values`, by their digest: once, however many executions have them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from xxhash import xxh3_128_digest

from mltraq_prefect.codecs import decode, encode, squeezed
from mltraq_prefect.errors import CorruptData
from mltraq_prefect.provenance.facts import INLINE, Facts
from mltraq_prefect.reports.study.results import Origins
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.sql.dialects import Dialect
from mltraq_prefect.storage.tables import fingerprints
from mltraq_prefect.storage.tables.large_values import REFERENCE_MAGIC, VALUES, is_reference
from mltraq_prefect.storage.texts import texts_of
from mltraq_prefect.storage.values.cells import for_driver, natural
from mltraq_prefect.storage.values.kinds import BINARY, BOOL, DATETIME, JSON, KEY, TEXT, Kind
from mltraq_prefect.storage.values.kinds.texts import clean
from mltraq_prefect.storage.values.kinds.times import without_zone
from mltraq_prefect.storage.values.params import fields_as_json

EXECUTIONS: dict[str, Kind] = {
    "id_experiment": KEY,
    "id_execution": KEY,
    "started_at": DATETIME,
    "steps": TEXT,
    "seed": TEXT,
    "kwargs": JSON,
    "kwargs_exact": BINARY,
    **dict.fromkeys(("git_commit", "git_branch"), TEXT),
    "git_dirty": BOOL,
    "git_diff": BINARY,
    **dict.fromkeys(("git_remote", "script", "command", "user_name", "host"), TEXT),
    **dict.fromkeys(("python", "platform", "cpu", "gpu", "versions"), TEXT),
    **dict.fromkeys(("flow", "flow_run_id", "deployment", "deployment_id"), TEXT),
}
EXECUTIONS_KEY = ("id_experiment", "id_execution")

_OWN = tuple(name for name in EXECUTIONS if name != "id_experiment")
_MADE = frozenset(("started_at", "steps", "seed", "kwargs", "kwargs_exact", "git_diff", "versions"))

LARGEST = 2**26
"""Bytes of the envelope of a kwarg that is kept; of a larger one the fingerprint tells."""

CHUNK = 200

_NO_RUN = ""
"""Stands for the experiment where large values are kept by run."""


class Row(NamedTuple):
    """A row that is ready for a database.

    Attributes:
        id_execution: UUID of the execution, as text.
        cells: As the driver takes them.
        contents: What is beside it, by name.
    """

    id_execution: str
    cells: tuple[Any, ...]
    contents: dict[str, bytes]


def rows_of(executions: Iterable[Facts], dialect: Dialect) -> list[Row]:
    """Encode the rows of executions."""
    return [_row(facts, dialect) for facts in executions]


def _row(facts: Facts, dialect: Dialect) -> Row:
    contents: dict[str, bytes] = {}

    def referring(data: bytes) -> bytes:
        if len(data) <= INLINE:
            return data
        reference = REFERENCE_MAGIC + xxh3_128_digest(data)
        contents[_name(reference)] = data
        return reference

    exact = {key: referring(data) for key, data in facts.exact.items()}
    told = {key: encode(f"<{text}>") for key, text in facts.shown.items()}
    diff = facts.git_diff and referring(squeezed(encode(facts.git_diff)))
    values = {
        **{name: _text(getattr(facts, name), dialect) for name in _OWN if name not in _MADE},
        "started_at": without_zone(facts.started_at),
        "steps": json.dumps(dict(facts.steps)),
        "seed": str(facts.seed),
        "kwargs": fields_as_json({**facts.exact, **told}, dialect),
        "kwargs_exact": encode([exact, dict(facts.shown)]),
        "git_diff": diff,
        "versions": json.dumps(dict(facts.versions)),
    }
    cells = [for_driver(dialect, EXECUTIONS[name], [values[name]])[0] for name in _OWN]
    return Row(facts.id_execution, tuple(cells), contents)


def _text(value: Any, dialect: Dialect) -> Any:
    return clean(value, dialect) if isinstance(value, str) else value


def _name(reference: bytes) -> str:
    """Return the name of what a reference stands for."""
    return f"execution {reference[len(REFERENCE_MAGIC) :].hex()}"


def put(transaction: Transaction, id_experiment: str, rows: Sequence[Row]) -> None:
    """Insert the rows of executions that have none yet."""
    stored = _stored(transaction, id_experiment, [row.id_execution for row in rows])
    new = [row for row in rows if row.id_execution not in stored]
    if not new:
        return
    limit = transaction.dialect.value_limit(transaction.connection)
    contents = {
        name: data
        for row in new
        for name, data in row.contents.items()
        if transaction.dialect.sent(data) <= limit
    }
    for name in _beside(transaction, id_experiment, list(contents)):
        del contents[name]
    for name, data in contents.items():
        values: list[list[Any]] = [[id_experiment], [_NO_RUN], [name], [data]]
        transaction.insert("experiment_values", VALUES, values)
    columns = zip(*(row.cells for row in new), strict=True)
    transaction.insert("experiment_executions", EXECUTIONS, [[id_experiment] * len(new), *columns])


def _stored(transaction: Transaction, id_experiment: str, ids: Sequence[str]) -> set[str]:
    sql = "SELECT id_execution FROM experiment_executions WHERE id_experiment = ?"
    return {
        id_execution
        for condition, chunk in _chosen("id_execution", ids)
        for (id_execution,) in transaction.rows(f"{sql} AND {condition}", (id_experiment, *chunk))
    }


def _chosen(column: str, names: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    for start in range(0, len(names), CHUNK):
        chunk = names[start : start + CHUNK]
        yield f"{column} IN ({', '.join('?' * len(chunk))})", chunk


def _beside(transaction: Transaction, id_experiment: str, names: Sequence[str]) -> set[str]:
    """Return which of some contents the database has."""
    sql = "SELECT column_name FROM experiment_values WHERE id_experiment = ? AND id_run = ?"
    return {
        name
        for condition, chunk in _chosen("column_name", names)
        for (name,) in transaction.rows(f"{sql} AND {condition}", (id_experiment, _NO_RUN, *chunk))
    }


def read(
    transaction: Transaction,
    id_experiment: str,
    ids: Sequence[str] | None = None,
    last: int | None = None,
) -> list[Facts]:
    """Return what is known of executions, the earliest first; large kwargs by reference.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        ids: Only these executions.
        last: How many of the latest are read; all if None.

    Raises:
        CorruptData: A row is something else.
    """
    sql = f"SELECT {', '.join(_OWN)} FROM experiment_executions WHERE id_experiment = ?"
    some = "1 = 1" if last is None else f"1 = 1 ORDER BY started_at DESC LIMIT {last:d}"
    chosen = [(some, ())] if ids is None else _chosen("id_execution", ids)
    found: list[Facts] = []
    for condition, chunk in chosen:
        rows = transaction.rows(f"{sql} AND {condition}", (id_experiment, *chunk))
        found += [_facts(row, transaction.dialect) for row in rows]
    return sorted(found, key=lambda facts: (facts.started_at, facts.id_execution))


def begun_after(transaction: Transaction, id_experiment: str, id_execution: str) -> set[str] | None:
    """Return the steps of executions that began after one; None if that is not there.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        id_execution: That execution.
    """
    sql = "FROM experiment_executions WHERE id_experiment = ? AND"
    own = transaction.rows(
        f"SELECT started_at {sql} id_execution = ?", (id_experiment, id_execution)
    )
    if not own:
        return None
    rows = transaction.rows(f"SELECT steps {sql} started_at > ?", (id_experiment, own[0][0]))
    return {name for (text,) in rows for name in texts_of(text, "the steps of an execution")}


def _facts(row: Sequence[Any], dialect: Dialect) -> Facts:
    own = {
        name: natural(dialect, EXECUTIONS[name], [cell])[0]
        for name, cell in zip(_OWN, row, strict=True)
    }
    try:
        exact, shown = decode(own["kwargs_exact"])
        steps, versions = json.loads(own["steps"]), json.loads(own["versions"])
        diff = own["git_diff"]
        if diff is not None and not is_reference(diff):
            diff = decode(diff)
        made = {
            "started_at": own["started_at"].replace(tzinfo=datetime.UTC),
            "seed": int(own["seed"]),
            "steps": dict(steps),
            "versions": dict(versions),
            "git_diff": diff,
        }
        rest = {name: own[name] for name in _OWN if name not in _MADE}
        return Facts(**rest, **made, exact=dict(exact), shown=dict(shown))
    except (CorruptData, ValueError, TypeError, AttributeError):
        raise CorruptData(
            f"the row of execution {own['id_execution']} in experiment_executions is not what was "
            "written"
        ) from None


def origins(
    transaction: Transaction, id_experiment: str, most: int, also: Sequence[str]
) -> Origins:
    """Return the latest executions, and some others, with their code and diffs.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        most: How many of the latest.
        also: Ids of others; those that are not there are left out.
    """
    sql = "SELECT count(*) FROM experiment_executions WHERE id_experiment = ?"
    ((total,),) = transaction.rows(sql, (id_experiment,))
    found = read(transaction, id_experiment, last=most)
    there = {facts.id_execution for facts in found}
    found += read(transaction, id_experiment, [id_ for id_ in also if id_ not in there])
    found = [completed(transaction, id_experiment, facts, kwargs=False) for facts in found]
    known = fingerprints.read(transaction, id_experiment)
    return Origins(sorted(found, key=lambda facts: facts.started_at), int(total), known)


def completed(
    transaction: Transaction, id_experiment: str, facts: Facts, *, kwargs: bool = True
) -> Facts:
    """Return what is known of an execution, with what is beside its row.

    Args:
        transaction: Where to read.
        id_experiment: The experiment.
        facts: What its row says.
        kwargs: Whether large kwargs are read; they stay references otherwise.

    Raises:
        CorruptData: What is beside it is not what was written.
    """
    diff: Any = facts.git_diff
    wanted = {key: data for key, data in facts.exact.items() if kwargs and is_reference(data)}
    names = [*map(_name, wanted.values()), *([_name(diff)] if is_reference(diff) else [])]
    sql = "SELECT column_name, value FROM experiment_values WHERE id_experiment = ? AND id_run = ?"
    found: dict[str, bytes] = {}
    for condition, chunk in _chosen("column_name", names):
        rows = transaction.rows(f"{sql} AND {condition}", (id_experiment, _NO_RUN, *chunk))
        found |= {name: bytes(value) for name, value in rows}
    exact, shown = dict(facts.exact), dict(facts.shown)
    for key, reference in wanted.items():
        data = found.get(_name(reference))
        if data is None:  # no packet of this database has taken it
            del exact[key]
            shown[key] = "larger than this database takes"
        elif REFERENCE_MAGIC + xxh3_128_digest(data) != reference:
            raise CorruptData(f"kwarg {key!r} of execution {facts.id_execution} was changed")
        else:
            exact[key] = data
    if is_reference(diff):
        data = found.get(_name(diff))
        diff = None if data is None else decode(data)
    return replace(facts, exact=exact, shown=shown, git_diff=diff)


def clear_unused(transaction: Transaction, id_experiment: str) -> None:
    """Delete executions to which no run refers any more, and what only they have.

    As long as runs are pending, one of them may be going on: then all stay.

    Args:
        transaction: Where; it holds the lock of the experiment.
        id_experiment: The experiment.
    """
    known = _column(transaction, "experiment_executions", "id_execution", id_experiment)
    pending = "SELECT 1 FROM experiment_runs WHERE id_experiment = ? AND state = 'pending' LIMIT 1"
    if not known or transaction.rows(pending, (id_experiment,)):
        return
    used = {
        id_execution
        for table in ("experiment_run_steps", "experiment_runs")
        for id_execution in _column(transaction, table, "id_execution", id_experiment)
    }
    if not (gone := sorted(known - used)):
        return
    for condition, chunk in _chosen("id_execution", gone):
        transaction.run(
            f"DELETE FROM experiment_executions WHERE id_experiment = ? AND {condition}",
            (id_experiment, *chunk),
        )
    left = read(transaction, id_experiment)
    _clear_contents(transaction, id_experiment, left)
    prints = {print_ for facts in left for print_ in facts.steps.values()}
    prints |= _column(transaction, "experiment_run_steps", "fingerprint", id_experiment)
    fingerprints.clear_unused(transaction, id_experiment, prints)


def _column(transaction: Transaction, table: str, column: str, id_experiment: str) -> set[str]:
    """Return the values of a column in the rows of an experiment."""
    sql = f"SELECT DISTINCT {column} FROM {table} WHERE id_experiment = ? AND {column} IS NOT NULL"
    return {value for (value,) in transaction.rows(sql, (id_experiment,))}


def _clear_contents(transaction: Transaction, id_experiment: str, left: Iterable[Facts]) -> None:
    found: list[Any] = [data for facts in left for data in (*facts.exact.values(), facts.git_diff)]
    used = {_name(data) for data in found if is_reference(data)}
    where = "WHERE id_experiment = ? AND id_run = ? AND"
    rows = transaction.rows(
        f"SELECT column_name FROM experiment_values {where} column_name LIKE ?",
        (id_experiment, _NO_RUN, "execution %"),
    )
    for condition, chunk in _chosen("column_name", sorted({name for (name,) in rows} - used)):
        transaction.run(
            f"DELETE FROM experiment_values {where} {condition}", (id_experiment, _NO_RUN, *chunk)
        )
