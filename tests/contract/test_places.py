"""Tables that have used up the places of their columns, and texts that end in blanks."""

from mltraq_prefect.storage import Store
from mltraq_prefect.storage.reading.pending import Pending
from tests import servers
from tests.contract.records import assert_same_runs, make_record, make_run
from tests.contract.test_merging import columns_of, execute


def test_columns_that_were_dropped_count():
    with servers.postgresql_database() as url:
        store = Store(url)
        store.check()
        runs = [make_run(i, x=i) for i in range(3)]
        store.write(make_record("old", runs), "fail")
        names = [f"c{i}" for i in range(1597)]
        execute(
            url,
            f"ALTER TABLE e_old {', '.join(f'ADD COLUMN {name} INT' for name in names)}",
            f"ALTER TABLE e_old {', '.join(f'DROP COLUMN {name}' for name in names)}",
        )
        runs = [make_run(i, x=i, y=i + 1, z=i + 2, more=str(i)) for i in range(4)]
        store.write(make_record("old", runs), "merge")
        assert_same_runs(store.read("old").runs, runs)
        placed = [column["column"] for column in columns_of(store, "old").values()]
        assert placed == ["x", "y", None, None]
        store.close()


def test_names_of_steps_that_differ_by_blanks(store):
    runs = [make_run(0), make_run(1)]
    for run, step in zip(runs, ("test", "test "), strict=True):
        run.ledger.step, run.ledger.state = step, "failed"
    store.write(make_record("blanks", runs), "fail")
    found = store.read("blanks", pending=Pending("test", failed=True)).runs
    assert [run.id_run for run in found] == [runs[0].id_run]
