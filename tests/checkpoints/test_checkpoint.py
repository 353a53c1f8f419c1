"""What was completed is in the database, and is not executed again."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import mltraq_prefect as mltraq


def draw(run):
    run.fields.drawn = run.rng.random(3)
    run.fields.n = run.params.N


def total(run):
    run.fields.total = float(run.fields.drawn.sum())


class Counter:
    """Counts executions across processes; fails on demand."""

    def __init__(self, folder):
        self.folder = folder

    def note(self, run):
        with (self.folder / str(run.params.N)).open("a") as file:
            file.write("x")

    def counts(self):
        return {int(path.name): path.stat().st_size for path in self.folder.iterdir()}


@pytest.fixture
def counter(tmp_path):
    (tmp_path / "executed").mkdir()
    return Counter(tmp_path / "executed")


def define(session, n=6):
    return session.add_experiment("sweep").add_runs(N=range(n))


def rows(session):
    found = session.load("sweep")
    return [(run.params.N, run.fields.n, run.fields.drawn.tolist()) for run in found.runs.values()]


def test_a_checkpoint_writes_what_an_undisturbed_execution_would(session, url):
    define(session).execute([draw, total], backend="local", checkpoint=True)
    other = mltraq.create_session()
    define(other).execute([draw, total], backend="local").persist()
    assert rows(session) == rows(other)
    states = session.query("SELECT state, steps FROM experiment_runs")
    assert set(states["state"]) == {"completed"}


def test_what_is_completed_is_not_executed_again(session, counter):
    def noted(run):
        counter.note(run)
        run.fields.n = run.params.N

    define(session, 3).execute(noted, backend="local", checkpoint=True)
    again = define(session, 5).execute(noted, backend="local", checkpoint=True)
    assert counter.counts() == dict.fromkeys(range(5), 1)
    assert [run.fields.n for run in again.runs.values()] == [0, 1, 2, 3, 4]
    assert [run.ledger.state for run in again.runs.values()] == ["completed"] * 5


def test_what_failed_is_executed_again_from_its_start(session, tmp_path):
    def collect(run):
        run.fields.seen = [*run.fields.get("seen", []), run.params.N]

    def fragile(run):
        if run.params.N == 1 and not (tmp_path / "mended").exists():
            raise RuntimeError("broken")

    with pytest.raises(mltraq.RunsFailed, match="1 of 3 runs failed"):
        define(session, 3).execute([collect, fragile], backend="local", checkpoint=True)
    states = session.query("SELECT state FROM experiment_runs ORDER BY position")
    assert states["state"].tolist() == ["completed", "failed", "completed"]
    (tmp_path / "mended").touch()
    again = define(session, 3).execute([collect, fragile], backend="local", checkpoint=True)
    assert [run.fields.seen for run in again.runs.values()] == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"kwargs": {"k": 2}},
            r"6 of these runs .*\(step 'draw': other value of k in kwargs \(1 -> 2\)\)",
        ),
        ({"seed": 1}, r"\(step 'draw': other seed \(0 -> 1\)\)"),
    ],
    ids=["kwargs", "seed"],
)
def test_other_kwargs_or_seeds_are_noticed(session, change, message):
    define(session).execute(draw, {"k": 1}, backend="local", checkpoint=True)
    before = rows(session)
    with pytest.raises(mltraq.InvalidInput, match=message):
        define(session).execute(
            **{"steps": draw, "kwargs": {"k": 1}, "backend": "local"} | change, checkpoint=True
        )
    assert rows(session) == before


def changed_draw(run):
    run.fields.drawn = run.rng.random(3) * 2
    run.fields.n = run.params.N


changed_draw.__name__ = "draw"


def test_changed_code_is_noticed_accepted_or_replaced(session):
    define(session).execute(draw, backend="local", checkpoint=True)
    before = rows(session)
    with pytest.raises(mltraq.InvalidInput, match=r"other code.*\"accept\".*\"replace\""):
        define(session).execute(changed_draw, backend="local", checkpoint=True)
    define(session).execute(changed_draw, backend="local", checkpoint="accept")
    assert rows(session) == before
    define(session).execute(changed_draw, backend="local", checkpoint="replace")
    assert rows(session) == [(n, m, [2 * v for v in values]) for n, m, values in before]


def test_a_second_stage_adds_to_what_is_stored(session):
    define(session).execute(draw, backend="local", checkpoint=True)
    define(session).execute(total, backend="local", checkpoint=True)
    loaded = session.load("sweep")
    for run in loaded.runs.values():
        assert run.fields.total == float(run.fields.drawn.sum())
        assert list(run.ledger.steps) == ["draw", "total"]


def test_written_runs_are_released_and_read_back(session):
    experiment = define(session, 1200)
    experiment.execute(draw, backend="local", checkpoint=True)
    assert not any(_in_memory(run) for run in experiment.runs.values())
    some = list(experiment.runs.values())[700]
    assert some.fields.n == 700
    assert _in_memory(some)
    assert experiment.runs.df()["n"].tolist() == list(range(1200))


def _in_memory(run):
    try:
        object.__getattribute__(run, "fields")
    except AttributeError:
        return False
    return True


def test_a_merge_after_a_checkpoint_writes_what_was_changed_since(session):
    experiment = define(session)
    experiment.execute(draw, backend="local", checkpoint=True)
    experiment.runs.first().fields.comment = "the first"
    experiment.persist("merge")
    comments = session.query("SELECT comment FROM e_sweep")["comment"]
    assert comments.count() == 1
    assert rows(session)[1][2] == list(experiment.runs.values())[1].fields.drawn.tolist()


def test_a_replace_after_a_checkpoint_writes_everything(session):
    experiment = define(session)
    experiment.execute(draw, backend="local", checkpoint=True)
    before = rows(session)
    experiment.persist("replace")
    assert rows(session) == before


def test_a_value_that_cannot_be_stored_fails_its_run_alone(session):
    def strange(run):
        run.fields.n = run.params.N
        run.fields.drawn = np.zeros(1)
        if run.params.N == 2:
            run.fields.drawn = object()

    with pytest.raises(mltraq.RunsFailed, match=r"fields.drawn is of type object"):
        define(session, 4).execute(strange, backend="local", checkpoint=True)
    states = session.query("SELECT state FROM experiment_runs ORDER BY position")["state"]
    assert states.tolist() == ["completed", "completed", "failed", "completed"]


def test_pending_runs_are_in_the_ledger_from_the_start(session):
    seen = []

    def look(run):
        if run.params.N == 0:
            seen.extend(session.query("SELECT state FROM experiment_runs")["state"])

    define(session, 4).execute(look, backend="local", checkpoint=True)
    assert seen == ["pending"] * 4


def test_options_of_checkpoint(session):
    with pytest.raises(mltraq.InvalidInput, match='use True, False, "accept" or "replace"'):
        define(session).execute(draw, checkpoint="merge")


def test_threads_that_ask_for_the_fields_of_one_run_get_the_same(session):
    experiment = define(session).execute(draw, checkpoint=True, backend="local")
    for run in experiment.runs.values():
        together = threading.Barrier(8)

        def fields_of(_, run=run, together=together):
            together.wait(180)
            return run.fields

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(fields_of, range(8)))
        assert all(fields is found[0] for fields in found)
        assert found[0].n == run.params.N


@pytest.mark.parametrize("is_resumed", [False, True])
@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_fields_that_are_assigned_while_the_database_alone_has_them_are_written(
    session, mode, is_resumed
):
    experiment = define(session).execute(draw, backend="local", checkpoint=True)
    if is_resumed:
        experiment = define(session).execute(draw, backend="local", checkpoint=True)
    before = rows(session)
    runs = list(experiment.runs.values())
    runs[1].fields = {"n": 10, "drawn": np.ones(2)}
    runs[2].fields = {"n": 20}
    experiment.persist(mode)
    found = [dict(run.fields) for run in session.load("sweep").runs.values()]
    assert found[1]["drawn"].tolist() == [1.0, 1.0]
    assert [fields["n"] for fields in found] == [0, 10, 20, 3, 4, 5]
    assert [list(fields) for fields in found] == [
        ["n"] if n == 2 else ["drawn", "n"] for n in range(6)
    ]
    others = [
        (n, fields["n"], fields["drawn"].tolist())
        for n, fields in enumerate(found)
        if n in (0, 3, 4, 5)
    ]
    assert others == [row for row in before if row[0] in (0, 3, 4, 5)]


def test_fields_that_are_assigned_are_what_the_next_step_sees(session):
    experiment = define(session).execute(draw, backend="local", checkpoint=True)
    for run in experiment.runs.values():
        run.fields = {"drawn": np.ones(run.params.N)}
    experiment.execute(total, backend="local", checkpoint=True)
    found = [dict(run.fields) for run in session.load("sweep").runs.values()]
    assert [fields["total"] for fields in found] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert all("n" not in fields for fields in found)


def test_a_run_that_left_the_experiment_is_read_back_all_the_same(session):
    experiment = define(session).execute(draw, backend="local", checkpoint=True)
    (third,) = (run for run in experiment.runs.values() if run.params.N == 3)
    del experiment.runs[third.id_run]
    assert third.fields.n == 3


def test_a_run_that_was_deleted_from_the_database_is_named(session):
    experiment = define(session).execute(draw, backend="local", checkpoint=True)
    other = session.load("sweep")
    del other.runs[other.runs.first().id_run]
    other.persist("replace")
    with pytest.raises(mltraq.StoreError, match=r"experiment 'sweep', run N=0: .* deleted"):
        _ = experiment.runs.first().fields
    assert list(experiment.runs.values())[1].fields.n == 1
