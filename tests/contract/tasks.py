"""What other processes do in the tests; see `processes.Worker`."""

import contextlib
import itertools
import os
import pathlib
import resource
import signal
import threading
import time

from mltraq_prefect.errors import ExperimentExists, ExperimentNotFound, MltraqError, StorageFull
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.formats.versions import MIGRATIONS
from mltraq_prefect.storage.sql.migrations import Migration, newest
from tests.contract.records import make_record, make_run

GENERATIONS = ({"n": int}, {"n": float}, {"n": int, "extra": str}, {"n": int})
"""Fields of successive replacements, so that some change the table and some do not."""

ENDLESS = 10**9


def generation(number, runs=20):
    """Return a record all of whose values tell its number."""
    fields = {key: kind(number) for key, kind in GENERATIONS[number % len(GENERATIONS)].items()}
    items = [make_run(i, g=number, pair=(number, number), **fields) for i in range(runs)]
    return make_record(runs=items, fields={"g": number})


def numbers_of(record):
    """Return the generations that the parts of a record are of: one, unless it is a mixture."""
    found = {record.fields["g"]}
    for run in record.runs:
        assert run.fields["pair"] == (run.fields["g"],) * 2
        found |= {run.fields["g"], int(run.fields["n"])}
    return found


def added(number):
    """Return a record with one run, which tells its number and may bring a new field."""
    run = make_run(number, n=number, pair=(number, 1), **{f"f{number % 40}": number})
    return make_record(runs=[run])


# -- things that a writer does until it is killed ------------------------------------------------


def replace(go, report, url, first=0, count=ENDLESS):
    """Replace an experiment over and over; report which generation is acknowledged."""
    store = Store(url)
    go()
    for number in itertools.islice(itertools.count(first), count):
        store.write(generation(number), "replace")
        report(number)
    store.close()


def merge(go, report, url, first=0, count=ENDLESS):
    """Merge runs, with a new field each, over and over; report which are acknowledged."""
    store = Store(url)
    go()
    for number in itertools.islice(itertools.count(first), count):
        store.write(added(number), "merge")
        report(number)
    store.close()


def recreate(go, report, url, first=0, count=ENDLESS):
    """Create and delete an experiment in turn; report what is acknowledged."""
    store = Store(url)
    go()
    for number in itertools.islice(itertools.count(first), count):
        if number % 2:
            store.delete("coin toss")
        else:
            store.write(generation(number), "fail")
        report(number)
    store.close()


def keep_files(go, report, url, first=0, count=ENDLESS):
    """Merge runs with a file of two pieces each; report which are acknowledged."""
    store = Store(url)
    go()
    for number in itertools.islice(itertools.count(first), count):
        run = make_run(number, n=number)
        run.files["content"] = content(number)
        store.write(make_record(runs=[run]), "merge")
        report(number)
    store.close()


def content(number):
    """Return the content of such a file."""
    return number.to_bytes(4) * 300_000


def upload_and_wait(go, report, url, folder, files, said):
    """Write a run with files, the last of which is uploaded when somebody says so.

    Args:
        url: The database.
        folder: The location of files.
        files: How many files.
        said: Path of a file that says it.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    opened = itertools.count(1)

    class Waiting(LocalFileSystem):
        protocol = "waiting"

        def open(self, path, mode="rb", **options):
            if mode == "wb" and next(opened) == files:
                report("about to upload")
                while not pathlib.Path(said).exists():
                    time.sleep(0.01)
            return super().open(path, mode, **options)

    fsspec.register_implementation("waiting", Waiting, clobber=True)
    store = Store(url, files=f"waiting://{folder}")
    run = make_run(1)
    for number in range(files):
        run.files[f"{number}"] = content(number)
    go()
    store.write(make_record("uploaded", runs=[run]), "merge")
    store.close()


# -- things that many do at the same moment ------------------------------------------------------


def check(go, report, url, number):
    """Make the fixed tables."""
    store = Store(url)
    go()
    store.check()
    store.close()


def own(go, report, url, number):
    """Write an experiment of one's own."""
    record = make_record(f"own {number}", runs=[make_run(i, n=number) for i in range(3)])
    _write(go, url, record, "fail")


def fail(go, report, url, number):
    """Write an experiment that others write at the same moment; return whether it was ours."""
    try:
        _write(go, url, generation(number), "fail")
    except ExperimentExists:
        return False
    return True


def replace_some(go, report, url, number, count=3):
    """Replace the experiment that others replace."""
    replace(go, report, url, number * count, count)


def merge_some(go, report, url, number, count=3):
    """Merge runs of one's own, and new fields, into the experiment that others merge into."""
    merge(go, report, url, number * count, count)


def merge_same(go, report, url, number):
    """Merge the runs that others merge too, with a value that they share and one of one's own."""
    runs = [make_run(i, shared=i, **{f"by {number}": number}) for i in range(5)]
    _write(go, url, make_record(runs=runs), "merge")


def anything(go, report, url, number):
    """Do something to the experiment to which others do something else."""
    store = Store(url)
    go()
    for turn in range(3):
        kind = (number + turn) % 4
        if kind == 0:
            store.write(generation(number), "replace")
        elif kind == 1:
            store.write(generation(number), "merge")
        elif kind == 2 and store.exists("coin toss"):
            _read(store)
        elif kind == 3:
            _delete(store)
    store.close()


def add_fields(go, report, url, fields):
    """Merge fields into the same runs, one of them after another."""
    store = Store(url)
    go()
    for key, value in fields:
        store.write(make_record(runs=[make_run(0, **{key: value})]), "merge")
    store.close()


def read_all(go, report, url, last):
    """Read an experiment that is replaced until its last generation is there; return what came.

    Report what came first: whoever replaces may wait until all read.
    """
    store = Store(url)
    go()
    seen = []
    while not seen or seen[-1] != last:
        record = store.read("coin toss")
        (number,) = numbers_of(record)
        assert len(record.runs) == 20
        _see(number, seen, report)
    store.close()
    return seen


def query_all(go, report, url, last):
    """The same by SQL: count the runs, and the generations that columns of two sorts tell."""
    store = Store(url)
    go()
    sql = "SELECT count(*), min(g), max(g), min(n), max(n) FROM {e} AS e JOIN experiment_runs AS r "
    sql += "ON r.id_run = e.id_run"
    seen = []
    while not seen or seen[-1] != last:
        ((count, least, most, *by_n),) = store.query(sql, names={"e": "coin toss"})[1]
        assert (count, least, *by_n) == (20, most, most, most)
        _see(most, seen, report)
    store.close()
    return seen


def _see(number, seen, report):
    if not seen:
        report(number)
    seen.append(number)


# -- limits --------------------------------------------------------------------------------------


def write_limited(go, report, url, size, record, mode):
    """Write while files must not become larger than a size; return what the error says."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        Store(url).write(record, mode)
    except StorageFull as error:
        return str(error)
    return "it was written"


def write_unprivileged(go, report, url, record):
    """Read, and try to write, as a user whom the modes of files concern."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    store = Store(url)
    found = store.read("coin toss")
    try:
        store.write(record, "replace")
    except MltraqError as error:
        return len(found.runs), type(error).__name__
    return len(found.runs), "written"


# -- migrations ----------------------------------------------------------------------------------


def add_notes(transaction):
    """Add a column and fill it, as a migration to a later format might."""
    if "remark" not in transaction.columns("experiments"):
        transaction.run("ALTER TABLE experiments ADD COLUMN remark VARCHAR(99)")
    transaction.run("UPDATE experiments SET remark = name")


def add_to_notes(transaction):
    """Change values in a way that may happen once only."""
    rows = transaction.rows("SELECT id_experiment, remark FROM experiments")
    for id_experiment, note in rows:
        sql = "UPDATE experiments SET remark = ? WHERE id_experiment = ?"
        transaction.run(sql, (f"{note}, twice", id_experiment))


FORMAT = newest(MIGRATIONS)
NEXT = {**MIGRATIONS, FORMAT: Migration(add_notes), FORMAT + 1: Migration(add_to_notes)}
OPTIONAL = {**MIGRATIONS, FORMAT: Migration(add_notes, is_optional=True)}


def migrate(go, report, url, number):
    """Open a database that others open at the same moment, and that has to be migrated."""
    store = Store(url, migrations=NEXT)
    go()
    store.check()
    store.close()


def migrate_and_hang(go, report, url):
    """Report when a migration has changed something, and never come to its end."""

    def hang(transaction):
        add_notes(transaction)
        report("changed")
        threading.Event().wait()

    Store(url, migrations={**MIGRATIONS, FORMAT: Migration(hang)}).check()


def _write(go, url, record, mode):
    store = Store(url)
    go()
    try:
        store.write(record, mode)
    finally:
        store.close()


def _read(store):
    with contextlib.suppress(ExperimentNotFound):  # another may just have deleted it
        store.read("coin toss")


def _delete(store):
    with contextlib.suppress(ExperimentNotFound):
        store.delete("coin toss")
