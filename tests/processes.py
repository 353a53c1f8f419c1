"""What the tests ask about processes."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def on_one_core():
    """Let executions of this process, and of those that it starts, have one worker each.

    A worker imports all that the module of its steps does: beside a flow, Prefect.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def is_alive(pid):
    """Return whether a process is there, and more than a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def alive(pids):
    return [pid for pid in pids if is_alive(pid)]


def descendants(pid):
    """Return the children of a process, their children, and so on."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        parents.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for ancestor in found:
        found += parents.get(ancestor, [])
    return found[1:]
