"""What the tests ask about processes."""

from pathlib import Path


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
