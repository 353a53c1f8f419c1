"""Several processes execute one experiment together, on every backend that they can share."""

import contextlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

import mltraq_prefect as mltraq
from mltraq_prefect.checkpoints import shared
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.membership import Member
from mltraq_prefect.storage.tables.claims import Terms
from tests import servers
from tests.contract.integrity import assert_sound
from tests.contract.processes import SECONDS, Worker
from tests.contract.sharing import RUNS, STEPS, executed, kwargs, take_part, undisturbed
from tests.contract.test_ownership import change
from tests.polling import poll

HOUR = 3_600

BRIEF = 4
"""A lease that a test waits for until it has run out, in seconds."""


@pytest.fixture
def workers():
    started = [Worker() for _ in range(3)]
    yield started
    for worker in started:
        worker._process.kill()
        worker._process.join()


def begin(worker, url, given, ahead=0, **options):
    """Let a process take part; return its id."""
    worker.begin(take_part, url, given, options, ahead)
    worker.next_report()
    return worker.reports[-1]


def begin_both(workers, url, given, folder, **options):
    """Let two processes take part before any run ends; return their ids."""
    (folder / "hold-all").touch()
    pids = [begin(worker, url, given, **options) for worker in workers[:2]]
    with mltraq.create_session(url) as session:
        wait(lambda: claims(session), lambda found: len(found) == 2)
    (folder / "hold-all").unlink()
    return pids


def claims(session):
    exists = not session.ls().empty
    return session.claims("sweep") if exists else pd.DataFrame(columns=["worker", "is_live"])


def claim_of(session, pid):
    found = claims(session)
    return found[found["worker"].str.endswith(f":{pid}")]


def wait(read, until):
    found = poll(read, until, seconds=SECONDS)
    assert until(found)
    return found


def hold(pid, folder):
    """Wait until a process is in the middle of a step, and stays there; return what holds it."""
    held = folder / f"hold-{pid}"
    held.touch()
    assert wait(held.with_suffix(".held").exists, bool)
    return held


def pause(session, pid):
    """Stop a process that is held between two renewals of its brief lease.

    In the middle of a transaction it would hold what that has locked.
    """

    def left():
        until = claim_of(session, pid)["until"].item()
        return (until - pd.Timestamp.now(until.tzinfo)).total_seconds() / BRIEF

    wait(left, lambda part: 1 - 0.7 / shared.RENEWALS < part < 1 - 0.2 / shared.RENEWALS)
    os.kill(pid, signal.SIGSTOP)


def test_the_dead_are_succeeded_and_who_lost_its_lease_writes_nothing(
    shared_url, tmp_path, workers
):
    given = kwargs(tmp_path)
    (tmp_path / "slow").touch()
    with mltraq.create_session(shared_url) as session:
        brief = {"lease_seconds": BRIEF}
        killed, paused = begin_both(workers, shared_url, given, tmp_path, **brief)
        wait(lambda: claims(session), lambda found: len(found) == 2 and all(found["completed"]))
        _, held = (hold(pid, tmp_path) for pid in (killed, paused))
        pause(session, paused)
        workers[0].kill()
        held.unlink()
        (tmp_path / "slow").unlink()
        left = claims(session)
        begin(workers[2], shared_url, given, ahead=HOUR, **brief)
        late, _ = workers[2].result()
        os.kill(paused, signal.SIGCONT)
        resumed, _ = workers[1].result()
        assert late == resumed == undisturbed(tmp_path / "undisturbed")
        counts = executed(tmp_path)
        assert list(counts) == list(range(RUNS))
        assert RUNS < sum(counts.values()) <= RUNS + left["runs"].sum()
        assert claims(session).empty
        steps = "SELECT count(*) AS n, count(DISTINCT id_run) AS runs FROM experiment_run_steps"
        assert session.query(steps).values.tolist() == [[2 * RUNS, RUNS]]
        assert session.query("SELECT count(*) AS n FROM experiment_queue")["n"].item() == 0
        by = session.query("SELECT worker, count(*) AS n FROM experiment_runs GROUP BY worker")
        pids = {int(worker.rpartition(":")[2]) for worker in by["worker"]}
        assert pids == {killed, paused, workers[2].reports[0]}
        done = left.set_index("worker")["completed"]
        assert by.set_index("worker")["n"][done.index].tolist() == done.tolist()
    assert_sound(shared_url)


def test_failures_are_those_of_all_and_each_run_is_tried_once(tmp_path, workers):
    url, given = f"sqlite:///{tmp_path}/store.db", kwargs(tmp_path, failing=[3, 70])
    begin_both(workers, url, given, tmp_path)
    (one, said), (other, also) = (worker.result() for worker in workers[:2])
    assert one == other
    assert [number for number, state, *_ in one if state == "failed"] == [3, 70]
    assert said == also
    assert said.startswith(f"experiment 'sweep': 2 of {RUNS} runs failed")
    assert set(executed(tmp_path).values()) == {1}


def test_no_run_begins_after_so_many_failures_in_all_processes(tmp_path, workers):
    url, given = f"sqlite:///{tmp_path}/store.db", kwargs(tmp_path, failing=range(RUNS))
    begin_both(workers, url, given, tmp_path, max_failures=4)
    (one, said), (other, also) = (worker.result() for worker in workers[:2])
    assert said == also
    assert "were not executed" in said
    states = [state for _, state, *_ in one]
    assert states == [state for _, state, *_ in other]
    assert 4 <= states.count("failed") < RUNS / 2


def stop_until_its_lease_has_run_out(session, pid):
    pause(session, pid)
    wait(lambda: claims(session), lambda found: not found["is_live"].any())


def test_who_was_cut_off_takes_part_in_what_another_has_begun_anew(tmp_path, workers):
    url, given = f"sqlite:///{tmp_path}/store.db", kwargs(tmp_path, 0)
    (tmp_path / "hold-all").touch()
    with mltraq.create_session(url) as session:
        pids = [begin(workers[0], url, given, lease_seconds=BRIEF)]
        wait(lambda: executed(tmp_path), len)
        stop_until_its_lease_has_run_out(session, pids[0])
        pids.append(begin(workers[1], url, given))
        wait(lambda: claims(session), lambda found: found["is_live"].any())
        (tmp_path / f"hold-{pids[1]}").touch()
        (tmp_path / "hold-all").unlink()
        os.kill(pids[0], signal.SIGCONT)
        wait(lambda: claims(session), lambda found: len(found) == 2 and found["completed"].any())
        (tmp_path / f"hold-{pids[1]}").unlink()
        results = [worker.result()[0] for worker in workers[:2]]
        assert results == [undisturbed(tmp_path / "undisturbed")] * 2
    assert_sound(url)


def test_who_was_cut_off_does_not_take_other_results_for_its_own(tmp_path, workers):
    url, given = f"sqlite:///{tmp_path}/store.db", kwargs(tmp_path)
    (tmp_path / "hold-all").touch()
    with mltraq.create_session(url) as session:
        pid = begin(workers[0], url, given, lease_seconds=BRIEF)
        wait(lambda: executed(tmp_path), len)
        stop_until_its_lease_has_run_out(session, pid)
        (tmp_path / "hold-all").unlink()
        experiment = session.add_experiment("sweep").add_runs(N=range(RUNS))
        options = {"backend": "local", "checkpoint": True, "shared": True}
        experiment.execute(STEPS, kwargs(tmp_path, 0), **options)
        os.kill(pid, signal.SIGCONT)
        with pytest.raises(AssertionError, match=f"InvalidInput: .*executed {RUNS} of its runs w"):
            workers[0].result()
        assert len(session.verify()) == 0


def test_failures_of_who_has_left_count(shared_url):
    with (
        mltraq.create_session(shared_url) as session,
        contextlib.closing(Store(shared_url)) as store,
    ):
        experiment = session.add_experiment("one").add_runs(N=range(8)).persist()
        one, other = (
            store.membership("one", Member(f"here:{pid}", 1, 30, Terms(8, "", {}, "")))
            for pid in (1, 2)
        )
        revision = int(session.ls()["revision"].item())
        assert one.join(revision, list(experiment.runs)).is_joined
        assert other.join(revision, list(experiment.runs)).is_joined
        assert len(one.take(lambda _room: 3, (), None).ids) == 3
        change(
            shared_url, f"UPDATE experiment_queue SET state = 'failed' WHERE claim = '{one.claim}'"
        )
        one.leave()
        assert other.take(lambda _room: 1, (), 3).is_over
        assert len(other.take(lambda _room: 1, (), 4).ids) == 1


def test_a_server_that_writes_dates_otherwise(tmp_path):
    with servers.postgresql_database() as server:
        parsed = sa.make_url(server)
        options = f"{parsed.query['options']} -cdatestyle=German"
        url = parsed.update_query_dict({"options": options}).render_as_string(hide_password=False)
        with mltraq.create_session(url) as session:
            experiment = session.add_experiment("sweep").add_runs(N=range(3))
            experiment.execute(
                STEPS, kwargs(tmp_path, 0), backend="local", checkpoint=True, shared=True
            )
            assert executed(tmp_path) == dict.fromkeys(range(3), 1)


def other_step(run):
    run.fields.drawn = run.rng.random(2)


def test_who_would_compute_otherwise_does_not_take_part(tmp_path, workers, monkeypatch):
    url, given = f"sqlite:///{tmp_path}/store.db", kwargs(tmp_path)
    pid = begin(workers[0], url, given)
    (tmp_path / f"hold-{pid}").touch()
    with mltraq.create_session(url) as session:
        wait(lambda: claims(session), len)

        def refused(steps=STEPS, kwargs=given, runs=RUNS, **options):
            experiment = session.add_experiment("sweep").add_runs(N=range(runs))
            with pytest.raises(InvalidInput) as error:
                experiment.execute(
                    steps, kwargs, backend="local", checkpoint=True, shared=True, **options
                )
            assert f":{pid} at the moment, but differently: " in str(error.value)
            assert "session.claims('sweep')" in str(error.value)
            return str(error.value).partition("differently: ")[2].partition(". ")[0]

        assert refused(runs=RUNS - 1) == f"{RUNS} runs there, {RUNS - 1} here"
        assert refused(seed=1) == "; ".join(
            f"step '{step.__name__}': other seed (0 -> 1)" for step in STEPS
        )
        assert "step 'draw': other value of seconds in kwargs (0.1 -> 1)" in refused(
            kwargs=given | {"seconds": 1}
        )
        assert refused(steps=other_step) == "the steps draw, finish there, other_step here"
        with monkeypatch.context() as patched:
            patched.setattr(shared, "__version__", "99.0")
            assert refused() == f"mltraq_prefect {mltraq.__version__} there, 99.0 here"
        assert len(claims(session)) == 1
        alone = {"backend": "local", "checkpoint": True}
        for checkpoint in (True, "replace"):
            with pytest.raises(InvalidInput, match=f"draw, finish is executed by .*:{pid} at the"):
                session.add_experiment("sweep").add_runs(N=range(RUNS)).execute(
                    STEPS, given, **alone | {"checkpoint": checkpoint}
                )
        (tmp_path / f"hold-{pid}").unlink()
        assert workers[0].result()[0] == undisturbed(tmp_path / "undisturbed")


def test_a_deleted_experiment_is_not_written_again(tmp_path, workers):
    url = f"sqlite:///{tmp_path}/store.db"
    pid = begin(workers[0], url, kwargs(tmp_path))
    (tmp_path / f"hold-{pid}").touch()
    with mltraq.create_session(url) as session:
        assert wait((tmp_path / f"hold-{pid}.held").exists, bool)
        session.load("sweep", columns=[]).delete()
        (tmp_path / f"hold-{pid}").unlink()
        with pytest.raises(AssertionError, match=r"ExperimentNotFound: .*deleted while"):
            workers[0].result()
        assert session.ls().empty


def test_alone_it_is_as_any_checkpoint(url, tmp_path):
    with mltraq.create_session(url) as session:
        for _ in range(2):
            experiment = session.add_experiment("sweep").add_runs(N=range(3))
            experiment.execute(
                STEPS, kwargs(tmp_path, 0), backend="local", checkpoint=True, shared=True
            )
            assert {run.ledger.state for run in experiment.runs.values()} == {"completed"}
            assert session.claims("sweep").empty
        assert executed(tmp_path) == dict.fromkeys(range(3), 1)


def beside(run):
    """End first where the execution is not shared, though both have begun by then."""
    folder = Path(run.kwargs.folder)
    me = "shared" if (folder / "begun").exists() else "alone"
    run.fields[f"only_in_{me}"] = run.fields.me = me
    run.files[f"{me}.txt"] = me.encode()
    (folder / "begun").touch()
    if me == "alone":
        assert poll((folder / "shared").exists, bool)
        run.log(me=me)
        if run.kwargs.get("is_stopped"):
            raise mltraq.StopRun
    else:
        (folder / "shared").touch()
        assert poll((folder / "over").exists, bool)
        run.log(me=me)


def share_beside(url, given):
    assert poll((Path(given["folder"]) / "begun").exists, bool)
    with mltraq.create_session(url) as there:
        experiment = there.add_experiment("beside").add_runs(N=[1])
        experiment.execute(beside, given, backend="local", checkpoint=True, shared=True)


def test_what_is_executed_beside_a_sweep_is_not_mixed_with_it(shared_url, tmp_path, caplog):
    given = {"folder": str(tmp_path)}
    with ThreadPoolExecutor() as threads, mltraq.create_session(shared_url) as session:
        sharing = threads.submit(share_beside, shared_url, given)
        experiment = session.add_experiment("beside").add_runs(N=[1])
        experiment.execute(beside, given, backend="local", checkpoint=True)
        (tmp_path / "over").touch()
        sharing.result()
        assert "1 run is not written, as others without shared=True were first" in caplog.text
        run = session.load("beside").runs.first()
        assert dict(run.fields) == {"only_in_alone": "alone", "me": "alone"}
        assert [*run.files] == ["alone.txt"]
        assert run.series["me"].tolist() == ["alone"]
        assert session.claims("beside").empty


def test_what_was_stopped_beside_a_sweep_with_other_kwargs_is_refused(shared_url, tmp_path):
    given = {"folder": str(tmp_path)}
    with ThreadPoolExecutor() as threads, mltraq.create_session(shared_url) as session:
        sharing = threads.submit(share_beside, shared_url, given)
        experiment = session.add_experiment("beside").add_runs(N=[1])
        stopped = given | {"is_stopped": True}
        experiment.execute(beside, stopped, backend="local", checkpoint=True)
        (tmp_path / "over").touch()
        with pytest.raises(InvalidInput, match="others have executed 1 of its runs with other"):
            sharing.result()
        run = session.load("beside").runs.first()
        assert (run.ledger.state, run.fields.me) == ("stopped", "alone")


def test_claims_go_where_their_experiment_and_its_runs_go(tmp_path):
    url = f"sqlite:///{tmp_path}/store.db"
    with mltraq.create_session(url) as session, contextlib.closing(Store(url)) as store:

        def queued():
            return session.query("SELECT count(*) AS n FROM experiment_queue")["n"].item()

        def take_part(name):
            experiment = session.load(name)
            membership = store.membership(name, Member("here:1", 2, 30, Terms(8, "", {}, "")))
            revision = int(session.ls(where=f"name = '{name}'")["revision"].item())
            assert membership.join(revision, list(experiment.runs)) is not None
            return membership.take(lambda _room: 3, (), None).ids

        session.add_experiment("one").add_runs(N=range(8)).persist()
        assert len(take_part("one")) == 3
        (claim,) = session.claims("one").itertuples()
        assert (claim.worker, claim.workers, claim.runs, claim.is_live) == ("here:1", 2, 3, True)
        assert 29 < (claim.until - claim.since).total_seconds() < 35
        experiment = session.load("one")
        experiment.rename("two")
        assert session.claims("two")["runs"].item() == 3
        assert experiment.delete_runs('"N" < 2') == 2
        assert (session.claims("two")["runs"].item(), queued()) == (1, 6)
        session.add_experiment("two").add_runs(N=[9]).persist("merge")
        assert (session.claims("two")["runs"].item(), queued()) == (1, 6)
        assert session.load("two").copy("three").persist().name == "three"
        assert session.claims("three").empty
        assert session.verify().empty
        session.add_experiment("two").add_runs(N=[1]).persist("replace")
        assert (len(session.claims("two")), queued()) == (0, 0)
        take_part("two")
        assert session.prune("two", slots=1, slot="N") == 0
        session.load("two").delete()
        assert queued() == 0
        assert session.verify().empty


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "shared=True needs checkpoint=True"),
        ({"checkpoint": "replace"}, "each process would discard what the others have written"),
        ({"checkpoint": True, "rerun": True}, "exclude each other"),
        ({"checkpoint": True, "stop": lambda *_: False}, "shared=True and stop=... exclude"),
        ({"checkpoint": True, "lease_seconds": 0.5}, "use a number of seconds, at least 1"),
        ({"checkpoint": True, "shared": False, "lease_seconds": 5}, "is about shared=True"),
        ({"checkpoint": True, "shared": 2}, "use True or False"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_written(tmp_path, options, reason):
    with mltraq.create_session(f"sqlite:///{tmp_path}/store.db") as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(3))
        with pytest.raises(InvalidInput, match=reason.replace("...", r"\.\.\.")):
            experiment.execute(STEPS, {}, **{"shared": True, **options})
        assert session.ls().empty
