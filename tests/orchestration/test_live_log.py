"""What steps print is in their task run's log while they are executed, and whole at the end."""

import logging
import time

import pytest

pytestmark = pytest.mark.usefixtures("prefect_server")

LINES = 1_000
MOST_SECONDS = 60


class Listener(logging.Handler):
    """Keeps what task runs log, and makes a file when a message has come."""

    def __init__(self, awaited, path):
        super().__init__()
        self.records = []
        self._awaited, self._path = awaited, path

    def emit(self, record):
        self.records.append(record)
        if self._awaited in record.getMessage():
            self._path.touch()


@pytest.fixture
def listen(tmp_path):
    logger = logging.getLogger("prefect.task_runs")
    added = []

    def add(awaited):
        added.append(Listener(awaited, tmp_path / "heard"))
        logger.addHandler(added[0])
        return added[0]

    yield add
    logger.removeHandler(added[0])


def waiting(path):
    """Yield until the path is there, but not for ever."""
    end = time.monotonic() + MOST_SECONDS
    while not path.exists():
        assert time.monotonic() < end, "nobody has heard"
        time.sleep(0.1)
        yield


def test_a_line_is_logged_while_its_step_is_executed(session, listen, tmp_path):
    def speak(run):
        print("in the midst")
        for _ in waiting(run.kwargs.heard):
            pass

    listen("in the midst")
    experiment = session.add_experiment("live").add_runs(N=[1])
    experiment.execute(speak, kwargs={"heard": tmp_path / "heard"})


def test_of_a_flood_some_is_held_back_and_all_is_there_at_the_end(session, listen, tmp_path):
    def flood(run):
        for number in range(LINES):
            print("line", number)
        for _ in waiting(run.kwargs.heard):
            print("waiting")

    listener = listen("lines are left out here, and follow at the end")
    experiment = session.add_experiment("flood").add_runs(N=[1])
    experiment.execute(flood, kwargs={"heard": tmp_path / "heard"})
    records = sorted(listener.records, key=lambda record: record.created)
    lines = [text for text in (r.getMessage() for r in records) if text.startswith("line ")]
    assert lines == [f"line {number}" for number in range(LINES)]
    assert {record.levelno for record in records} == {logging.INFO}
