"""Processes for the tests: imported once and then forked, so that each costs milliseconds."""

import multiprocessing
import traceback

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "pytest",
        "psycopg",
        "pymysql",
        "sqlalchemy.dialects.mysql",
        "sqlalchemy.dialects.postgresql",
        "tests.contract.tasks",
    ]
)
SECONDS = 300
"""Until when an answer must have come; beyond it a test has failed."""


class Worker:
    """A process that carries out one task after another, until it is told to end or killed.

    A task is a function of this package's modules. It gets, before its own arguments, `go`, to be
    called when it is about to do what others do at the same moment, and `report`.

    Attributes:
        reports: What its tasks have reported.
    """

    def __init__(self, barrier=None):
        self.reports = []
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, barrier), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, task, *arguments):
        """Start a task."""
        self._pipe.send((task, arguments))

    def wait_for_report(self, seconds=SECONDS):
        """Return whether the task has reported, or ended, within some seconds."""
        return self._pipe.poll(seconds)

    def next_report(self):
        """Wait until the task has reported once more."""
        assert self._pipe.poll(SECONDS), "the process does not answer"
        kind, content = self._pipe.recv()
        assert kind == "report", content
        self.reports.append(content)

    def result(self):
        """Wait until the task has ended; return what it returned, or fail as it failed."""
        while True:
            assert self._pipe.poll(SECONDS), "the process does not answer"
            kind, content = self._pipe.recv()
            if kind == "report":
                self.reports.append(content)
            else:
                assert kind == "done", content
                return content

    def kill(self):
        """Kill it by SIGKILL; return what its task had reported until then."""
        self._process.kill()
        self._process.join()
        try:
            while True:
                kind, content = self._pipe.recv()
                assert kind == "report", content
                self.reports.append(content)
        except (EOFError, ConnectionResetError):  # a report that was cut counts as none
            self._pipe.close()
        return self.reports

    def end(self):
        """Tell it to end."""
        self._pipe.send(None)
        self._process.join(SECONDS)
        self._pipe.close()


class Crowd:
    """Processes that do things at the same moment."""

    def __init__(self, size):
        self._barrier = _CONTEXT.Barrier(size, timeout=SECONDS)
        self.workers = [Worker(self._barrier) for _ in range(size)]

    def __len__(self):
        return len(self.workers)

    def run(self, task, *shared, each=None):
        """Carry out a task in each process at once; return the results.

        Args:
            task: Gets `shared`, and the process's own of `each`, which are numbers by default.
        """
        for own, worker in zip(each or range(len(self)), self.workers, strict=True):
            worker.begin(task, *shared, own)
        return [worker.result() for worker in self.workers]

    def end(self):
        """Tell all to end."""
        for worker in self.workers:
            worker.end()


def _serve(pipe, barrier):
    def go():
        if barrier is not None:
            barrier.wait()

    def report(content):
        pipe.send(("report", content))

    for task, arguments in iter(pipe.recv, None):
        try:
            answer = "done", task(go, report, *arguments)
        except BaseException:
            answer = "failed", traceback.format_exc()
        pipe.send(answer)
