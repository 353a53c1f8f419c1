"""Processes that read an experiment while another one replaces it."""

from tests.contract import tasks
from tests.contract.integrity import assert_sound
from tests.contract.processes import Worker


def read_while_replaced(url, replaces):
    """Fail unless what is read, by `read` and by SQL, is always one generation, and never older.

    Half of the replacements change the table.
    """
    writer, *readers = (Worker() for _ in range(4))
    writer.begin(tasks.replace, url, 0, 1)
    writer.result()
    for reader, task in zip(
        readers, (tasks.read_all, tasks.read_all, tasks.query_all), strict=True
    ):
        reader.begin(task, url, replaces - 1)
        reader.next_report()
    writer.begin(tasks.replace, url, 1, replaces - 1)
    writer.result()
    for reader in readers:
        seen = reader.result()
        assert seen == sorted(seen)
        assert len(set(seen)) > 1
    for worker in (writer, *readers):
        worker.end()
    assert_sound(url)
