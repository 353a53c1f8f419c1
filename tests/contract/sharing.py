"""A sweep that several processes execute together; each attempt at a run leaves a mark."""

import os
import time
from pathlib import Path

import mltraq_prefect as mltraq
from mltraq_prefect.errors import RunsFailed

LEASE_SECONDS = 60
"""Whose lease runs out, by a test, has a shorter one: on a busy machine a process is late."""
RUNS = 120


def draw(run):
    marked = os.open(Path(run.kwargs.folder) / "executed", os.O_APPEND | os.O_WRONLY | os.O_CREAT)
    os.write(marked, f"{run.params.N}\n".encode())
    os.close(marked)
    while (Path(run.kwargs.folder) / "hold-all").exists():
        time.sleep(0.01)
    hold = Path(run.kwargs.folder) / f"hold-{os.getpid()}"
    if hold.exists():
        hold.with_suffix(".held").touch()
        while hold.exists():
            time.sleep(0.01)
    run.fields.drawn = run.rng.random(3)
    if run.params.N % 20 == 0:
        run.files["drawn.bin"] = run.fields.drawn.tobytes() * 80_000
        run.files["same.bin"] = b"in several runs"
    for epoch in range(2):
        run.log(step=epoch, loss=float(run.fields.drawn[epoch]))
        if (Path(run.kwargs.folder) / "slow").exists():
            time.sleep(run.kwargs.seconds / 2)


def finish(run):
    if run.params.N in run.kwargs.failing:
        raise ValueError(f"{run.params.N} is bad")
    run.fields.total = float(run.fields.drawn.sum()) + run.params.N


STEPS = [draw, finish]


def kwargs(folder, seconds=0.1, failing=()):
    return {"folder": str(folder), "seconds": seconds, "failing": list(failing)}


def executed(folder):
    """Return how often each run was begun, by its N."""
    marks = folder / "executed"
    begun = [int(line) for line in marks.read_text().split()] if marks.exists() else []
    return {number: begun.count(number) for number in sorted(set(begun))}


def take_part(_go, report, url, given, options, ahead):
    """Execute the sweep with others; return what there is then, and what was said.

    Args:
        url: The database.
        given: Kwargs of the steps.
        options: Of `execute`.
        ahead: Seconds by which the clock of this process is ahead.
    """
    options = {"lease_seconds": LEASE_SECONDS} | options
    now = time.time
    time.time = lambda: now() + ahead
    report(os.getpid())
    said = ""
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(RUNS))
        try:
            experiment.execute(
                STEPS, given, backend="local", checkpoint=True, shared=True, **options
            )
        except RunsFailed as error:
            said = str(error)
        return results(experiment), said


def results(experiment):
    return [
        (
            run.params.N,
            run.ledger.state,
            run.fields["drawn"].tobytes() if "drawn" in run.fields else None,
            run.fields.get("total"),
            run.series.reindex(columns=["step", "loss"]).values.tolist(),
            {name: (file.sha256, file.path().stat().st_size) for name, file in run.files.items()},
        )
        for run in experiment.runs.values()
    ]


def undisturbed(folder):
    """Return the results of the sweep as one process alone has them."""
    folder.mkdir()
    with mltraq.create_session("sqlite://") as session:
        experiment = session.add_experiment("sweep").add_runs(N=range(RUNS))
        experiment.execute(STEPS, kwargs(folder, 0), backend="local", checkpoint=True)
        return results(experiment)
