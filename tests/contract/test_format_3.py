"""What format 3 makes of tables of format 2, on every backend: once, or again after a kill."""

import json

import pytest

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats import format_3
from mltraq_prefect.storage.formats.schema import STATES, TABLES, create_table
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.reading.pending import Pending
from mltraq_prefect.storage.sql.connections import Database
from mltraq_prefect.storage.tables.ledger import PARAMS_TEXT, kept
from mltraq_prefect.storage.values.kinds import JSON, KEY
from mltraq_prefect.storage.values.names import helper_name, view_name
from mltraq_prefect.storage.verifying import verify
from tests.contract.integrity import assert_sound
from tests.contract.records import assert_same_runs, make_record
from tests.contract.test_run_steps import FACTS, FAILED, executed

KEYS_2 = {
    "experiments": ("id_experiment",),
    "experiment_runs": ("id_experiment", "id_run"),
    "experiment_run_steps": ("id_experiment", "step_key", "id_run"),
}
LATER_COLUMNS = {*STATES, "param_columns", "series_columns", "id_execution"}


def runs():
    steps = [{"toss": FACTS}, {"toss": FACTS, "score": FACTS}, {"toss": FACTS, "score": FAILED}]
    return [executed(number, **own) for number, own in enumerate(steps)]


@pytest.fixture
def old_url(shared_url):
    """A database of format 2; somebody has given two of its runs one position."""
    store = Store(shared_url)
    store.write(make_record(runs=runs()), "fail")
    store.close()
    with database(shared_url).writing("test") as transaction:
        transaction.run(f"DROP VIEW {view_name('coin toss')}")
        transaction.run("DROP VIEW experiment_progress")
        ((text, id_experiment),) = transaction.rows(
            "SELECT properties, id_experiment FROM experiments"
        )
        properties = {k: v for k, v in json.loads(text).items() if k != "view"}
        columns = [[json.dumps(properties)], [id_experiment]]
        transaction.update("experiments", {"properties": JSON}, {"id_experiment": KEY}, columns)
        for table, key in KEYS_2.items():
            as_before(transaction, table, key)
        transaction.run("DELETE FROM experiment_format")
        transaction.run("INSERT INTO experiment_format (version, package) VALUES (2, '0.2.0')")
        transaction.run("UPDATE experiment_runs SET position = 1 WHERE position = 2")
    return shared_url


def database(url):
    return Database(url, migrations=MIGRATIONS)


def as_before(transaction, table, key):
    """Make a table anew with the columns and the key that it had in format 2."""
    columns = {name: kind for name, kind in TABLES[table][0].items() if name not in LATER_COLUMNS}
    if table == "experiment_run_steps":
        del columns["position"]
    made, quote, dialect = helper_name(), transaction.quote, transaction.dialect
    create_table(transaction, made, columns, key)
    names, now = (", ".join(map(quote, some)) for some in (columns, kept(columns, dialect)))
    if dialect.document:  # the text of JSON, as it was written
        now = now.replace(quote(PARAMS_TEXT), f"CAST({quote(PARAMS_TEXT)} AS JSON)")
    transaction.run(f"INSERT INTO {quote(made)} ({names}) SELECT {now} FROM {quote(table)}")
    transaction.run(f"DROP TABLE {quote(table)}")
    for statement in dialect.rename([(quote(made), quote(table))]):
        transaction.run(statement)


def assert_is_whole(url):
    store = Store(url)
    first, *others = runs()
    expected = [first, *sorted(others, key=lambda run: run.id_run)]
    assert_same_runs(store.read("coin toss").runs, expected)
    (listed,) = store.ls()
    counts = {"completed": 2, "failed": 1}
    assert {state: listed[state] for state in STATES if listed[state]} == counts
    pending = store.read("coin toss", pending=Pending("score")).runs
    assert [run.id_run for run in pending] == [runs()[0].id_run]
    assert not store.write(make_record(runs=runs()), "merge").changed
    more = executed(3, toss=FACTS, score=FACTS)
    assert store.write(make_record(runs=[more]), "merge").runs == 1
    assert store.read("coin toss").runs[3].ledger.executions.keys() == {"toss", "score"}
    assert store.ls()[0]["completed"] == 3
    store.close()
    assert_sound(url)


def test_it_is_as_if_it_had_been_made_today(old_url):
    with database(old_url).writing("test") as transaction:
        transaction.run("CREATE VIEW theirs AS SELECT state FROM experiment_runs")
    assert_is_whole(old_url)
    assert len(Store(old_url).query("SELECT * FROM theirs")[1]) == 4


def test_params_with_nul_are_no_obstacle(old_url):
    written = r'{"A":"x\u0000y","B":"\\u0000","C":"\\\u0000"}'
    with database(old_url).writing("test") as transaction:
        transaction.run("UPDATE experiment_runs SET params = ? WHERE position = 0", (written,))
    Store(old_url).check()
    with database(old_url).reading() as transaction:
        name = next(iter(kept({"params": JSON}, transaction.dialect)))
        ((text,),) = transaction.rows(f"SELECT {name} FROM experiment_runs WHERE position = 0")
        stands_for_nul = "\0" if transaction.dialect.nul else "\ufffd"
    shown = {"A": f"x{stands_for_nul}y", "B": r"\u0000", "C": f"\\{stands_for_nul}"}
    assert json.loads(text) == shown


@pytest.mark.parametrize(("column", "junk"), [("steps", "none"), ("residual", b"junk")])
def test_a_run_that_cannot_be_read_is_no_hindrance(old_url, column, junk):
    with database(old_url).writing("test") as transaction:
        sql = f"UPDATE experiment_runs SET {column} = ? WHERE position = 0"
        transaction.run(sql, (junk,))
    store = Store(old_url)
    assert store.ls()[0]["completed"] == 2
    assert len(list(verify(store, "coin toss", repair=False, advance=lambda *_: None))) == 1
    with pytest.raises(CorruptData):
        dict(store.read("coin toss").runs[0].params)
    _, *others = (id_run for _, id_run, _ in store.listed("coin toss", -1, 10))
    assert len(store.read("coin toss", ids=others).runs) == 2
    store.close()


def test_a_migration_that_was_killed_at_its_end_is_repeated(old_url):
    with database(old_url).writing("test") as transaction:
        format_3.apply(transaction)
    assert_is_whole(old_url)
