"""Experiments to write, and what it means that two are the same."""

import datetime as dt
import uuid

import sqlalchemy as sa

from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.run import Run
from mltraq_prefect.storage import Record

NAMESPACE = uuid.UUID(int=1)


def backend_of(store):
    """Return what kind of database a store is of."""
    name = sa.make_url(store.url).get_backend_name()
    return "mariadb" if name == "mysql" else name


def make_run(number, params=None, step="toss", **fields):
    """Return a completed run whose id depends on its number alone."""
    ledger = LedgerEntry(
        state="completed",
        steps={step: "1"},
        attempts=1,
        started_at=dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC),
        duration_s=0.1 + 0.2,
        flow_run_id=str(uuid.uuid4()),
        task_run_id=str(uuid.uuid4()),
    )
    params = {"N": number} if params is None else params
    id_run = str(uuid.uuid5(NAMESPACE, str(number)))
    return Run(id_run, params=params, fields=fields, ledger=ledger)


def make_record(name="coin toss", runs=(), **options):
    return Record(name=name, id_experiment=str(uuid.uuid4()), runs=list(runs), **options)


def with_values(*values, name="values"):
    """Return a record with a run for each value of its field x; `...` is no value."""
    runs = [make_run(i, **({} if value is ... else {"x": value})) for i, value in enumerate(values)]
    return make_record(name, runs)


def assert_same_runs(found, expected):
    """Fail unless the runs have the same ids, params, fields and ledger, in the same order."""
    from tests.values import assert_identical  # the processes of the tests need no pandas

    assert [run.id_run for run in found] == [run.id_run for run in expected]
    for left, right in zip(expected, found, strict=True):
        assert_identical(dict(left.params), dict(right.params), "params")
        assert set(left.fields) == set(right.fields)
        for key, value in left.fields.items():
            assert_identical(value, right.fields[key], f"fields[{key!r}]")
        for slot in ("state", "steps", "error", "attempts", "started_at", "duration_s"):
            assert getattr(left.ledger, slot) == getattr(right.ledger, slot)


def assert_same_marks(left, right):
    """Fail unless two snapshots say the same of each field that either knows."""
    assert left.id_experiment == right.id_experiment
    assert set(left.runs) == set(right.runs)
    for id_run, seen in left.runs.items():
        other = right.runs[id_run]
        assert marks_of(seen) == marks_of(other)
        assert seen.ledger == other.ledger


def marks_of(seen):
    return dict(zip(seen.fields, seen.marks, strict=True))
