"""Make the databases of other trackers that the tests import, with those trackers themselves.

``python -m tests.exchange.make_assets`` installs each tracker into an environment of its own in a
temporary folder, and runs this file in it, by its path, with the name of the tracker and a folder.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
TRACKERS = {
    "mltraq-0.0.100": ["mltraq==0.0.100", "ipython", "numpy<2", "sqlalchemy<2.1"],
    "mltraq-0.0.103": ["mltraq==0.0.103", "numpy<2"],
    "mltraq-0.0.110": ["mltraq==0.0.110"],
    "mltraq-0.1.165": ["mltraq==0.1.165"],
    "mlflow-3": ["mlflow==3.17.2"],
    "optuna-5": ["optuna==5.0.0"],
}


def main() -> None:
    if len(sys.argv) == 3:
        make(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, packages in TRACKERS.items():
            venv.create(own := Path(folder, name), with_pip=True)
            python = own / "bin" / "python"
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
            subprocess.run([python, __file__, name, ASSETS], check=True)


def make(name: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    makers = {"mltraq": mltraq, "mlflow": mlflow, "optuna": optuna}
    with tempfile.TemporaryDirectory() as scratch:
        database = Path(scratch, f"{name}.db")
        makers[name.partition("-")[0]](database, folder)
        dump(database, folder / f"{name}.sql")


def dump(database: Path, file: Path) -> None:
    """Write the statements that make the tables of a database, without those that have no rows."""
    import re
    import sqlite3

    connection = sqlite3.connect(database)
    tables = [t for (t,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
    empty = {t for t in tables if not connection.execute(f'SELECT 1 FROM "{t}"').fetchone()}
    lines = []
    for statement in connection.iterdump():
        made = re.match(r'CREATE (?:UNIQUE )?(TABLE|INDEX|TRIGGER)\s+"?(\w+)', statement)
        if made is None:
            lines.append(statement.replace(str(Path.cwd()), "/study"))
        elif made[1] == "TABLE" and made[2] not in empty:
            lines.append(re.sub(r"\s*\n\s*", " ", statement))
    file.write_text("\n".join(lines) + "\n")


def mltraq(database: Path, folder: Path) -> None:
    import datetime as dt
    import uuid

    import mltraq
    import numpy as np
    import pandas as pd

    session = mltraq.create_session(f"sqlite:///{database}")
    add = getattr(session, "add_experiment", None) or session.create_experiment
    experiment = add("Iris study")
    old = not hasattr(mltraq, "DataStore")
    for i in range(3):
        with experiment.run() as run:
            run.fields.accuracy = [0.5, float("nan"), 1.0][i]
            run.fields.n = i
            run.fields.is_best = i == 2
            run.fields.note = f"run {i}"
            run.fields.when = dt.datetime(2024, 1, 2, 3, 4, 5, 6)
            run.fields.predictions = np.arange(4 + i, dtype="float32") / 3
            run.fields.tree = {"depth": i, "splits": [1, 2.5, "x"], "key": uuid.UUID(int=i)}
            frame = pd.DataFrame({"x": [1.0, 2.0]})
            if mltraq.__version__ != "0.0.103":
                frame["t"] = pd.to_datetime(["2024-01-01", "2024-01-02"])
            run.fields.table = frame
            run.fields.series = pd.Series([1, 2, 3], name="s")
            if not old:
                run.fields.losses = mltraq.Sequence()
                run.fields.losses.append(loss=0.5)
                run.fields.losses.append(loss=0.25)
    experiment.persist()
    empty = add("empty")
    empty.fields.author = "Ada"
    empty.add_run()
    empty.persist()
    if not old:
        stored(session, database, folder)


def stored(session, database: Path, folder: Path) -> None:
    """Experiments whose values MLTRAQ has kept in files, and compressed."""
    import shutil

    import mltraq
    import numpy as np

    with mltraq.options().ctx({"datastore.url": f"file:///{database.parent}/mltraq.datastore"}):
        experiment = session.create_experiment("stored")
        with experiment.run() as run:
            run.fields.store = mltraq.DataStore(weights=np.ones(3), name="a")
        experiment.persist()
    shutil.rmtree(folder / "mltraq.datastore", ignore_errors=True)
    shutil.copytree(database.parent / "mltraq.datastore", folder / "mltraq.datastore")
    with mltraq.options().ctx({"serialization.compression.codec": "zlib"}):
        experiment = session.create_experiment("compressed")
        with experiment.run() as run:
            run.fields.zeros = np.zeros(1000)
        experiment.persist()


def mlflow(database: Path, folder: Path) -> None:
    import math
    import os

    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow
    from mlflow.entities import Dataset, DatasetInput, InputTag

    mlflow.set_tracking_uri(f"sqlite:///{database}")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("digits", "file:///artifacts/digits")
    client.set_experiment_tag(experiment, "team", "vision")
    for i in range(3):
        run = client.create_run(experiment, start_time=1_700_000_000_000 + i, run_name=f"run {i}")
        own = run.info.run_id
        client.log_param(own, "lr", [0.1, 0.01, 1e-05][i])
        client.log_param(own, "model", ["svc", "tree", "7"][i])
        client.log_param(own, "augment", i == 0)
        client.set_tag(own, "note", "first\nsecond")
        client.log_metric(own, "accuracy", i / 4, timestamp=1_700_000_001_000, step=0)
        for step in range(5):
            value = math.nan if (i, step) == (1, 3) else 1 / (step + 1)
            client.log_metric(own, "val/loss", value, timestamp=1_700_000_001_000, step=step)
        if i == 0:
            dataset = Dataset("iris", "abc123", "local", "/data/iris.csv", "{}", '{"rows": 150}')
            tag = InputTag("mlflow.data.context", "training")
            client.log_inputs(own, [DatasetInput(dataset, [tag])])
        status = ["FINISHED", "FAILED", "RUNNING"][i]
        if status != "RUNNING":
            client.set_terminated(own, status, end_time=1_700_000_005_000)
    gone = client.create_run(experiment, run_name="gone").info.run_id
    client.delete_run(gone)
    client.delete_experiment(client.create_experiment("old", "file:///artifacts/old"))
    model = client.create_logged_model(experiment, name="best", source_run_id=own)
    client.create_registered_model("digits-model")
    client.create_model_version("digits-model", f"models:/{model.model_id}", own)


def optuna(database: Path, folder: Path) -> None:
    import math

    import optuna

    optuna.logging.disable_default_handler()
    storage = f"sqlite:///{database}"
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, study_name="tune", sampler=sampler)
    study.set_user_attr("team", "vision")

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        trial.suggest_int("layers", 1, 8)
        trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        trial.suggest_categorical("optimizer", ["adam", "sgd", None, 3])
        trial.set_user_attr("seconds", [1, 2.5])
        for step in range(3):
            trial.report(math.nan if step == 1 else x * step, step)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ValueError("no luck")
        return math.inf if trial.number == 3 else x**2

    study.optimize(objective, n_trials=5, catch=(ValueError,))
    study.enqueue_trial({"x": 0.5})
    study.ask()
    study.enqueue_trial({"x": 0.75})
    both = optuna.create_study(
        storage=storage, study_name="pareto", directions=["minimize", "maximize"], sampler=sampler
    )
    both.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)


if __name__ == "__main__":
    main()
