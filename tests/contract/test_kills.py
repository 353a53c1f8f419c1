"""Writers that are killed leave the old or the new; `soak` kills hundreds."""

import contextlib
import itertools

import pytest

from tests.contract import tasks
from tests.contract.kills import kill_writers, new_databases


@pytest.mark.parametrize("task", [tasks.replace, tasks.merge, tasks.recreate])
def test_killed_writers_leave_old_or_new(shared_url, task):
    kill_writers(task, itertools.repeat(shared_url), points=12)


@pytest.mark.parametrize("backend", ["sqlite-file", "postgresql", "mariadb"])
def test_writers_killed_while_they_make_the_tables(backend, tmp_path):
    with contextlib.closing(new_databases(backend, tmp_path)) as urls:
        kill_writers(tasks.merge, urls, points=8)
