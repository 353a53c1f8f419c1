"""Many processes at once, and processes that are killed."""

import os
import random
import signal
import subprocess
import sys
import threading

import pytest

from mltraq_prefect.storage import Store
from tests.contract.records import make_record, make_run
from tests.contract.workers import numbers_of

WRITERS = 8
"""Processes at once; `soak` has more, and they do not fit in a minute."""


def start(task, url, *arguments):
    """Start a worker of another process."""
    command = [sys.executable, "-m", "tests.contract.workers", task, url, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(processes):
    """Return what processes have printed; none may have failed."""
    outputs = []
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        outputs.append(output.split())
    return outputs


def test_experiments_of_their_own(shared_url):
    finish([start("own", shared_url, i) for i in range(WRITERS)])
    assert len(Store(shared_url).ls()) == WRITERS


def test_fail_has_one_winner(shared_url):
    outputs = finish([start("fail", shared_url, i) for i in range(WRITERS)])
    assert sorted(outputs) == [["exists"]] * (WRITERS - 1) + [["won"]]
    assert len(numbers_of(Store(shared_url).read("coin toss"))) == 1


def test_replace_has_a_complete_winner(shared_url):
    finish([start("replace", shared_url, i * 100, 5) for i in range(WRITERS)])
    store = Store(shared_url)
    assert len(numbers_of(store.read("coin toss"))) == 1
    assert store.ls()[0]["revision"] == WRITERS * 5


def test_merge_gives_the_union_once(shared_url):
    finish([start("merge", shared_url, i * 5, 5) for i in range(WRITERS)])
    store = Store(shared_url)
    runs = store.read("coin toss").runs
    assert sorted(run.fields["n"] for run in runs) == list(range(WRITERS * 5))
    assert sorted(run.ledger.position for run in runs) == list(range(WRITERS * 5))
    assert store.ls()[0]["runs"] == WRITERS * 5


def test_readers_never_see_a_mixture(shared_url):
    writer = start("replace", shared_url, 0, 60)
    store = Store(shared_url)
    writer.stdout.readline()
    seen = set()
    while writer.poll() is None:
        numbers = numbers_of(store.read("coin toss"))
        assert len(numbers) == 1
        seen |= numbers
    finish([writer])
    assert len(seen) > 1


def test_threads_share_a_store(store):
    """Also the one connection of a database in memory."""
    errors = []

    def work(number):
        try:
            for i in range(5):
                run = make_run(number * 5 + i, n=i)
                store.write(make_record(runs=[run]), "merge")
                store.read("coin toss")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store.read("coin toss").runs) == 40


@pytest.mark.parametrize("task", ["replace", "merge"])
def test_killed_writers_leave_old_or_new(shared_url, task):
    kill_writers(shared_url, task, points=8)


def kill_writers(url, task, points):
    """Kill writers at random moments; what they acknowledged is there, whole and once."""
    chance = random.Random(task)
    first = 0
    for _ in range(points):
        process = start(task, url, first)
        wanted = chance.randrange(1, 8)
        lines = [process.stdout.readline() for _ in range(wanted)]
        delay = threading.Event()
        delay.wait(chance.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        assert errors == ""
        acknowledged = int([*lines, *output.split()][-1])
        store = Store(url)
        first = check(store, task, acknowledged) + 1
        store.close()


def check(store, task, acknowledged):
    """Return the number of the last write, which was acknowledged or was about to be."""
    record = store.read("coin toss")
    if task == "replace":
        (last,) = numbers_of(record)
    else:
        numbers = [run.fields["n"] for run in record.runs]
        last = numbers[-1]
        assert numbers == list(range(last + 1))
        for run in record.runs:
            assert run.fields["pair"] == (run.fields["n"], 1)
    assert last in (acknowledged, acknowledged + 1)
    assert store.ls()[0]["runs"] == len(record.runs)
    return last
