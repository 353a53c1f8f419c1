"""Steps on clusters; workers import this module, and for its sake neither Prefect nor pytest."""

import itertools
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np

import mltraq_prefect as mltraq
from mltraq_prefect.execution.row_buffer import ROWS_AT_ONCE
from mltraq_prefect.model.spool import own_spool
from tests.polling import poll


def draw(run):
    print("drawing", run.params.N)
    run.fields.own = run.rng.random(2).tolist()
    run.fields.python = random.random()
    run.fields.numpy = np.random.uniform()
    run.fields.ppid = os.getppid()
    run.locals.array = np.full(3, run.params.N)
    run.log(N=run.params.N)


def total(run):
    if run.params.N == 3:
        raise ValueError("three is bad")
    if run.params.N == 5 and run.kwargs.hang:
        threading.Event().wait()
    run.fields.total = int(run.locals.array.sum())


def ray_of(run):
    import ray as api

    run.fields.address = api.get(api.remote(_gcs_address).remote())


def _gcs_address():
    import ray as api

    return api.get_runtime_context().gcs_address


def dask_of(run):
    import distributed

    if run.kwargs.in_worker:
        run.fields.address = distributed.get_worker().scheduler.address
    else:
        with distributed.Client() as client:
            run.fields.address = client.scheduler.address


def rows_in(url):
    """Return how many rows another connection sees."""
    with mltraq.create_session(url) as session:
        try:
            return int(session.query("SELECT count(*) AS n FROM s_live")["n"][0])
        except mltraq.QueryFailed:  # there is no table yet
            return 0


def hold_on(run):
    run.log(0, loss=1.0)
    assert poll(lambda: rows_in(run.kwargs.url), lambda n: n >= 2)
    for number in range(1, 20_001):
        run.log(number, loss=float(number))


def endless(run):
    for number in itertools.count():
        run.log(number, loss=1.0)
        run.fields.number = number
        if number >= 3 and run.params.N == 1:
            break
        time.sleep(0.001)


def total_of_none(run):
    run.fields.total = 0


def keep(run):
    """Leave a file of some MB, and one that all runs have; contents are put where the worker is."""
    print("keeping", run.params.N)
    assert run.file_desk.spool.folder != run.kwargs.folder
    path = Path(tempfile.mkdtemp(), "model.bin")
    path.write_bytes(bytes([run.params.N]) * 3_000_001)
    run.files["model.bin"] = path
    run.files["same.txt"] = b"the same"
    shutil.rmtree(path.parent)


def score(run):
    """Read a file that an earlier step has left, and fail once."""
    with run.files["model.bin"].open() as file:
        run.files["score.txt"] = str(max(file.read())).encode()
    if not os.path.exists(run.kwargs.tried) and run.params.N == 2:
        open(run.kwargs.tried, "w").close()
        raise ValueError("once")


def copy_of_model(run):
    assert sorted(run.files) == [
        "logs/keep.txt", "logs/score.txt", "model.bin", "same.txt", "score.txt",
    ]  # fmt: skip
    run.files["copy.bin"] = run.files["model.bin"]


def make(run):
    run.fields.array = np.full(500_000, run.params.N, float)
    run.locals.kept = run.fields.array * 2
    run.files["note.txt"] = b"%d" % run.params.N
    run.log(N=run.params.N)


def judge(run):
    if run.params.N == 3 and not os.path.exists(run.kwargs.tried):
        open(run.kwargs.tried, "w").close()
        run.log(N=-1)
        raise ValueError("three is bad at first")
    run.fields.mean = float((run.fields.array + run.locals.kept).mean())
    run.fields.note = int(run.files["note.txt"].path().read_bytes())


def die_once(run):
    """Log more than the next attempt does, which is taken in then, and end the worker."""
    is_first = not os.path.exists(run.kwargs.tried)
    for number in range(2 * ROWS_AT_ONCE if is_first else run.params.again):
        run.log(number, loss=float(is_first))
    if is_first and not run.params.again:
        open(run.kwargs.tried, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)


def contents():
    """Return the folder of this process for contents of files."""
    return Path(own_spool().folder, "contents")


def count(run):
    """Log rows in turn with another attempt at the same run."""
    counter = Path(run.kwargs.counter)

    def meet(number):
        with counter.open("a+") as file:
            file.write(".")
            place = file.tell()
        poll(counter.read_text, lambda text: len(text) >= 2 * number)
        return place

    run.fields.tries = tries = meet(1)
    run.fields[f"only_in_{tries}"] = True
    for number in range(2, 5):
        for _ in range(ROWS_AT_ONCE):
            run.log(tries=tries)
        meet(number)


def leave(run):
    """End the worker when all that it makes is in the database, and before it can say so."""
    with Path(run.kwargs.counter).open("a") as file:
        file.write(".")
    run.fields.double = 2 * run.params.N
    run.log(N=run.params.N)
    run.files["note.txt"] = b"%d" % run.params.N
    if run.params.N == 1:
        threading.Thread(target=die_when_written, args=[run.kwargs.database]).start()


def die_when_written(database):
    with closing(sqlite3.connect(database)) as connection:
        sql = "SELECT count(*) FROM experiment_runs WHERE state = 'completed'"
        while connection.execute(sql).fetchone() != (2,):
            time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
