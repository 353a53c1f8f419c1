"""Numbers for a summary: of all runs, or of the last ones where these are many."""

import math

from tests.contract.records import make_record, make_run


def test_those_of_the_last_runs_are_read_if_there_are_many(store):
    runs = [make_run(i, n=i) for i in range(6)]
    store.write(make_record("many", runs), "fail")
    whole = store.numbers("many", most_runs=6)
    assert whole.complete
    assert whole.fields["n"].tolist() == [0, 1, 2, 3, 4, 5]
    last = store.numbers("many", most_runs=2)
    assert not last.complete
    assert last.fields["n"].tolist() == [4, 5]
    assert len(last.params) == 2
    assert last.run_count == 6
    assert all(math.isnan(total.total_s) for total in last.states.values())
