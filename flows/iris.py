"""Five classifiers on the iris data: predictions are stored first, and scored without models."""

import os
from functools import partial

import numpy as np
import pandas as pd
from prefect import flow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import mltraq_prefect as mltraq

EXPERIMENT = "iris"
CLASSIFIERS = [
    partial(LogisticRegression, max_iter=1_000),
    partial(SVC, kernel="rbf", C=1.0),
    KNeighborsClassifier,
    DecisionTreeClassifier,
    GaussianNB,
]


def predict(run):
    """Fit a classifier on one half of the flowers, and keep its predictions for the other."""
    data = load_iris()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.5, stratify=data.target, random_state=run.params.seed
    )
    classifier = run.params.classifier
    run.fields.classifier = getattr(classifier, "func", classifier).__name__
    run.fields.truth = data.target_names[y_test].astype("U")
    run.fields.predictions = data.target_names[classifier().fit(x_train, y_train).predict(x_test)]


def score(run):
    """Compare predictions with the truth: accuracy, and a confusion matrix (rows: truth)."""
    truth, predictions = run.fields.truth, run.fields.predictions
    run.fields.accuracy = float(np.mean(truth == predictions))
    run.fields.confusion = pd.crosstab(
        truth, predictions, rownames=["truth"], colnames=["predicted"]
    )


@flow
def generate(store: str | None = None):
    """Generate: five classifiers, ten splits each."""
    with mltraq.create_session(block=store) as session:
        experiment = session.add_experiment(EXPERIMENT)
        experiment.add_runs(classifier=CLASSIFIERS, seed=range(10))
        experiment.execute(steps=predict, on_error="keep")
        experiment.persist(if_exists="merge")


@flow
def evaluate(experiment: str = EXPERIMENT, store: str | None = None):
    """Evaluate what has yet to be: from the stored predictions alone."""
    with mltraq.create_session(block=store) as session:
        if experiment in set(session.ls(pending=score)["name"]):
            columns = ["truth", "predictions"]
            stored = session.load(experiment, columns=columns, pending=score)
            stored.execute(steps=score, on_error="keep")
            stored.persist(if_exists="merge")


def report() -> None:
    """Print the leaderboard, and what the best classifier confuses."""
    with mltraq.create_session() as session:
        board = session.query(
            "SELECT classifier, count(*) AS splits, avg(accuracy) AS accuracy,"
            " min(accuracy) AS worst"
            " FROM e_iris GROUP BY classifier ORDER BY accuracy DESC, classifier"
        )
        best = board["classifier"][0]
        stored = session.load(EXPERIMENT, columns=["classifier", "confusion"])
    print("\n" + board.to_string(index=False, float_format="%.4f"))
    of_best = [run.fields.confusion for run in stored.runs.values() if run["classifier"] == best]
    print(f"\n{best}, all splits:\n{sum(of_best)}")


if __name__ == "__main__":
    os.environ.setdefault("MLTRAQ_DATABASE_URL", "sqlite:///mltraq.db")
    generate()
    evaluate()
    report()
