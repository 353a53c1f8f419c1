"""No transaction is kept waiting while values are made: servers end those that are idle."""

import contextlib
import time

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from mltraq_prefect.errors import StorageUnavailable
from mltraq_prefect.storage import Store
from tests import servers
from tests.contract.records import assert_same_runs, make_record, make_run

IDLE_MS = 400
ATTEMPTS = 4


@pytest.fixture
def hasty():
    """A store on a PostgreSQL server that ends transactions that are idle for a moment."""
    with servers.postgresql_database() as url:
        parsed = sa.make_url(url)
        options = f"{parsed.query['options']} -cidle_in_transaction_session_timeout={IDLE_MS}"
        patient, hasty = (
            Store(url),
            Store(
                parsed.update_query_dict({"options": options}).render_as_string(
                    hide_password=False
                ),
                reconnect_seconds=0,
            ),
        )
        patient.check()
        yield patient, hasty
        patient.close()
        hasty.close()


def unhurried(action):
    """Return what an action returns that a server does not end in one of a few attempts.

    Others may keep this process waiting within a transaction, but not each time. What makes values
    there is late each time.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(StorageUnavailable):
            return action()
    return action()


def seconds_to_read(store, name):
    start = time.perf_counter()
    store.read(name)
    return time.perf_counter() - start


def test_frames_are_made_when_the_transaction_has_ended(hasty):
    patient, store = hasty
    frame = pd.DataFrame({f"c{i}": pd.Series(["a", None, "b"]) for i in range(30)})
    runs = [make_run(i, frame=frame) for i in range(100)]
    patient.write(make_record("frames", runs), "fail")
    while seconds_to_read(patient, "frames") < 4 * IDLE_MS / 1000 and len(runs) < 10_000:
        runs += [make_run(len(runs) + i, frame=frame) for i in range(len(runs))]
        patient.write(make_record("frames", runs), "replace")
    found = unhurried(lambda: store.read("frames"))
    assert len(found.runs) == len(runs)
    assert_same_runs(found.runs[:1], runs[:1])


def test_rows_are_made_before_the_transaction_begins(hasty):
    patient, store = hasty
    values = [(i, np.float32(i)) for i in range(30_000)]
    runs = [make_run(i, pair=pair, n=i, x=None) for i, pair in enumerate(values)]
    for mode in ("fail", "replace"):
        record = make_record("pairs", runs)
        written = unhurried(lambda record=record, mode=mode: store.write(record, mode))
        assert written.runs == len(runs)
    results = store.results("pairs")
    (n,) = (own for own in unhurried(results.columns) if own.key == "n")
    sample = unhurried(lambda: results.sample([n], 10**6))
    assert sample[n.name].sum() == sum(range(len(runs)))
    assert len(patient.query("SELECT * FROM {e}", names={"e": "pairs"})[1]) == len(runs)


def test_a_merge_is_compared_and_encoded_before_the_transaction_begins(hasty):
    patient, store = hasty
    runs = [make_run(i, **fields_of(i)) for i in range(20_000)]
    patient.write(make_record("pairs", runs), "fail")
    record = patient.read("pairs")
    for i, run in enumerate(record.runs):
        run.fields["pair"] = (i, "new")
    assert unhurried(lambda: store.write(record, "merge")).runs == len(runs)
    runs = [make_run(i, **fields_of(i + 1)) for i in range(20_100)]
    record = make_record("pairs", runs)
    assert unhurried(lambda: store.write(record, "merge")).runs == len(runs)
    found = patient.read("pairs").runs
    assert found[7].fields == {"pair": (8, np.float32(8)), "many": [8] * 20}


def fields_of(i):
    return {"pair": (i, np.float32(i)), "many": [i] * 20}
