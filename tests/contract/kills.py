"""Writers killed by SIGKILL at random moments, and what must be there afterwards."""

import itertools
import random
import threading
import time

from mltraq_prefect.storage import Store
from tests.contract import tasks
from tests.contract.conftest import empty_database
from tests.contract.integrity import assert_sound
from tests.contract.processes import Worker


def kill_writers(task, urls, points):
    """Kill writers; fail unless what they acknowledged is there, whole and once.

    The moments are spread evenly over the first write, for which a writer opens the database, and
    the three after it.

    Args:
        task: What they do: `replace`, `merge` or `recreate` of `tasks`.
        urls: An iterator of databases, one for each writer: the same, or new ones.
        points: How many are killed.

    Returns:
        How many were killed before they had written once.
    """
    chance = random.Random(task.__name__)
    seconds = _seconds_of_four(task, next(urls))
    moment, early, last_url, last = threading.Event(), 0, None, -1
    for _ in range(points):
        url = next(urls)
        if url != last_url:
            last_url, last = url, _last(task, url, -1)
        worker = Worker()
        worker.begin(task, url, last + 1)
        done = chance.randrange(4)
        for _ in range(done):
            worker.next_report()
        moment.wait(chance.random() * seconds / (4 if done else 2))
        reports = worker.kill()
        early += not reports
        acknowledged = reports[-1] if reports else last
        last = _last(task, url, acknowledged)
        assert last in (acknowledged, acknowledged + 1)
        assert_sound(url, leftovers=True)
    _write_twice(task, last_url, last)
    assert_sound(last_url)
    return early


def new_databases(backend, folder):
    """Yield the URLs of empty databases, each there until the next one."""
    for number in itertools.count():
        (folder / str(number)).mkdir()
        with empty_database(backend, folder / str(number)) as url:
            yield url


def _seconds_of_four(task, url):
    worker = Worker()
    began = time.monotonic()
    worker.begin(task, url, 0, 4)
    worker.result()
    took = time.monotonic() - began
    worker.end()
    return took


def _write_twice(task, url, last):
    worker = Worker()
    worker.begin(task, url, last + 1, 2)
    worker.result()
    worker.end()


def _last(task, url, acknowledged):
    """Return the number of the last write that the database shows; -1 if there was none."""
    store = Store(url)
    try:
        record = store.read("coin toss") if store.exists("coin toss") else None
        return _LAST[task](record, acknowledged)
    finally:
        store.close()


def _last_replaced(record, _acknowledged):
    if record is None:
        return -1
    assert len(record.runs) == 20
    (last,) = tasks.numbers_of(record)
    return last


def _last_merged(record, _acknowledged):
    if record is None:
        return -1
    for number, run in enumerate(record.runs):
        assert run.fields == {"n": number, "pair": (number, 1), f"f{number % 40}": number}
    return len(record.runs) - 1


def _last_recreated(record, acknowledged):
    """Odd numbers delete, so nothing is there after them."""
    if record is not None:
        return _last_replaced(record, acknowledged)
    return acknowledged if acknowledged % 2 else acknowledged + 1


def _last_with_file(record, _acknowledged):
    if record is None:
        return -1
    for number, run in enumerate(record.runs):
        assert run.fields == {"n": number}
        assert run.files["content"].path().read_bytes() == tasks.content(number)
    return len(record.runs) - 1


_LAST = {
    tasks.keep_files: _last_with_file,
    tasks.replace: _last_replaced,
    tasks.merge: _last_merged,
    tasks.recreate: _last_recreated,
}
