"""Classifiers on the digits data: curves while they train, early stop, and a model file each."""

import os
import tempfile
from pathlib import Path

import joblib
import numpy as np
from prefect import flow
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import mltraq_prefect as mltraq

EXPERIMENT = "digits"


def halves(seed):
    """Return the digits as two parts: one to train and choose with, one to test on."""
    data = load_digits()
    return train_test_split(
        data.data / 16, data.target, test_size=0.3, stratify=data.target, random_state=seed
    )


def train(run):
    """Train epoch by epoch, log the curve, and keep the model of the best epoch."""
    x, _, y, _ = halves(run.params.seed)
    x, x_valid, y, y_valid = train_test_split(x, y, test_size=0.25, random_state=run.params.seed)
    model = SGDClassifier(
        loss="log_loss",
        alpha=run.params.alpha,
        learning_rate="constant",
        eta0=run.params.rate,
        random_state=run.params.seed,
    )
    run.fields.accuracy = 0.0
    for epoch in range(run.kwargs.epochs):
        model.partial_fit(x, y, classes=np.arange(10))
        accuracy = float(model.score(x_valid, y_valid))
        if accuracy > run.fields.accuracy:
            run.fields.accuracy, run.fields.epoch = accuracy, epoch
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "model.joblib")
                joblib.dump(model, path)
                run.files["model.joblib"] = path
        loss = log_loss(y_valid, model.predict_proba(x_valid), labels=np.arange(10))
        run.log(epoch, loss=loss, accuracy=accuracy)


def test(run):
    """Load the model of a run, and score it on digits that it has never seen.

    `joblib.load` executes what the file says: load models from databases that you trust.
    """
    _, x_test, _, y_test = halves(run.params.seed)
    model = joblib.load(run.files["model.joblib"].path())
    run.fields.test_accuracy = float(model.score(x_test, y_test))


@flow
def generate(store: str | None = None):
    """Generate: a model each, stopped early where the curve is below those of others."""
    with mltraq.create_session(block=store) as session:
        experiment = session.add_experiment(EXPERIMENT)
        experiment.add_runs(alpha=[1e-5, 1e-3, 1e-1], rate=[0.01, 0.1], seed=range(3))
        stop = mltraq.stop.median(key="accuracy", after=5, mode="max")
        experiment.execute(
            train, {"epochs": 15}, checkpoint=True, stop=stop, keep_logs=True, on_error="keep"
        )
        experiment.persist(if_exists="merge")


@flow
def evaluate(experiment: str = EXPERIMENT, store: str | None = None):
    """Evaluate the models of the best runs: from their files alone."""
    with mltraq.create_session(block=store) as session:
        done = "state = 'completed'"  # a run that was stopped goes to no other step
        best = session.frame(experiment, ["accuracy"], done, order_by="-accuracy", limit=3)
        worst = {"worst": float(best["accuracy"].min())}
        stored = session.load(experiment, where="accuracy >= :worst", params=worst, pending=test)
        stored.execute(steps=test, on_error="keep")
        stored.persist(if_exists="merge")


def report() -> None:
    """Print the best runs on unseen digits, and which commit made the first number."""
    with mltraq.create_session() as session:
        columns = ["id_run", "alpha", "rate", "seed", "accuracy", "test_accuracy"]
        where = "test_accuracy IS NOT NULL"
        board = session.frame(EXPERIMENT, columns, where=where, order_by="test_accuracy DESC")
        print("\n" + board[columns[1:]].to_string(index=False))
        stored = session.load(EXPERIMENT)
        run = stored.runs[board["id_run"].iloc[0]]
        origin = stored.executions.loc[run.ledger.executions["train"].id_execution]
        print(f"\n{run.files['model.joblib']}, made by commit {origin.git_commit or 'none'}")


if __name__ == "__main__":
    os.environ.setdefault("MLTRAQ_DATABASE_URL", "sqlite:///mltraq.db")
    generate()
    evaluate()
    report()
