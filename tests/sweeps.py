"""A checkpointed sweep in a process of its own, to be interrupted; and what is left of it."""

import os
import subprocess
import sys

import mltraq_prefect as mltraq
from tests.execution.interrupted import draw, finish
from tests.polling import poll
from tests.processes import descendants

SECONDS = 300
"""Until when a sweep must have come so far; on a busy machine one is many times slower."""


class Sweep:
    """A process that executes the sweep, as often as it is started.

    Attributes:
        url: Of the database.
        folder: Where each execution of a run leaves a mark.
        runs: Number of runs.
        settings: Environment variables, such as the address of the Prefect server.
    """

    def __init__(self, url, folder, runs, settings):
        self.url, self.folder, self.runs, self.settings = url, folder, runs, settings
        folder.mkdir()

    def start(self, command=("tests.execution.interrupted",), **options):
        """Start the process.

        Args:
            command: Module that executes the sweep, and its first arguments.
            **options: Of `subprocess.Popen`.
        """
        return subprocess.Popen(
            [sys.executable, "-m", *command, self.url, str(self.folder), str(self.runs)],
            env=os.environ | self.settings,
            **options,
        )

    def hold(self, first):
        """Let a run, the first of a batch, and those after it wait before their end."""
        unfinished = self.folder / "unfinished"
        unfinished.write_text(str(first))
        unfinished.replace(self.folder / "held")

    def release(self):
        (self.folder / "held").unlink()

    def executions(self):
        return [path.stat().st_size for path in self.folder.glob("run-*")]

    def helpers(self):
        """Return workers and fork server of the flow's process, which may be a child of ours."""
        return descendants(int((self.folder / "pid").read_text()))

    def completed(self):
        with mltraq.create_session(self.url) as session:
            if session.ls().empty:
                return 0
            counted = "SELECT count(*) AS n FROM experiment_runs WHERE state = 'completed'"
            return int(session.query(counted)["n"][0])

    def flow_run_id(self):
        """Return the flow run that has completed runs, which a busy server may make late."""
        asked = (
            "SELECT DISTINCT flow_run_id FROM experiment_runs "
            "WHERE state = 'completed' AND flow_run_id IS NOT NULL"
        )
        with mltraq.create_session(self.url) as session:
            (found,) = poll(lambda: session.query(asked)["flow_run_id"], len, SECONDS)
            return found

    def wait_for(self, completed, process):
        found = poll(
            self.completed, lambda n: n >= completed or process.poll() is not None, seconds=SECONDS
        )
        if found < completed:
            said = process.communicate()[1]  # if it is not on the terminal
            raise AssertionError(f"it ended with {found} runs: {process.returncode}, {said}")

    def results(self):
        with mltraq.create_session(self.url) as session:
            return _results(session.load("sweep"))


def undisturbed(folder, runs):
    """Return the results of the sweep as nothing interrupts it, in this process."""
    folder.mkdir()
    experiment = mltraq.create_session().add_experiment("sweep").add_runs(N=range(runs))
    kwargs = {"folder": str(folder), "seconds": 0}
    experiment.execute([draw, finish], kwargs, backend="local")
    return _results(experiment)


def _results(experiment):
    return [
        (run.params.N, run.fields.drawn.tobytes(), run.fields.total)
        for run in experiment.runs.values()
    ]
