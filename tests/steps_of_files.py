"""Steps that keep and read files; workers import this module."""

import contextlib
import logging
import os
import pathlib
import signal
import tempfile

PADDING = "." * 60


def keep(run):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.bin")
        path.write_bytes(model_of(run.params.x))
        run.files["model.bin"] = path
    run.files["notes/same.txt"] = b"the same in all runs"
    run.files["empty"] = b""
    run.fields.kept = list(run.files)


def model_of(x):
    return bytes([x]) * 2_500_000


def evaluate(run):
    with run.files["model.bin"].open() as file:
        run.fields.first = file.read()[0]
    run.files["score.txt"] = str(run.fields.first).encode()
    del run.files["empty"]


def begin(run):
    run.files["begun"] = b"by the first step"
    run.files["begun"] = b"and once more"


def fail_first(run):
    """Fail in the first attempt, after a file was set."""
    assert run.files["begun"].path().read_bytes() == b"and once more"
    marker = pathlib.Path(run.kwargs.folder, str(run.params.x))
    run.files["attempt"] = b"2" if marker.exists() else b"1"
    if not marker.exists():
        run.files["only in the first"] = b"x"
        marker.touch()
        raise ValueError("the first attempt")


def refuse(run):
    run.files["fine"] = b"y"
    run.files[run.params.name] = run.params.value


@contextlib.contextmanager
def room(most):
    """Let no file of this process have more bytes than this, as on a disk that is full."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def overflow(run):
    run.files["fine"] = b"y"
    with room(run.params.room):
        run.files["large.bin"] = bytes(2_000_000)


def die(run):
    run.files["begun"] = b"x" * 100_000
    print("the last words of", run.params.x)
    os.kill(os.getpid(), signal.SIGKILL)


def talk(run):
    print("hello", run.params.x)
    logging.getLogger("me").warning("careful %d", run.params.x)
    if run.params.x == 2:
        try:
            run.params["y"]
        except KeyError:
            logging.getLogger("me").exception("no y")
        raise ValueError("two is bad")
    for number in range(20_000):
        print("line", number, PADDING)
    print("the end", end="")
