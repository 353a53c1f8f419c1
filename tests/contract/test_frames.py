"""`session.frame` and `load(where=)`: runs chosen by SQL, with the values that were tracked."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import mltraq_prefect as mltraq
from mltraq_prefect.model.dtypes import typed

DAY, MOMENT = dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5, 6)
HOSTILE = "x' OR '1'='1\"; DROP TABLE e_odd -- {e} :x %s \\"


@pytest.fixture
def session(url):
    with mltraq.create_session(url) as session:
        yield session


@pytest.fixture
def experiment(session):
    experiment = session.add_experiment("sweep")
    experiment.add_runs(lr=[0.1, 0.01], model=["svc", "tree"], acc=[1, 2])
    for index, run in enumerate(experiment.runs.values()):
        run.fields.update(
            acc=index / 10, n=index, ok=index % 2 == 0, day=DAY, moment=MOMENT, state="mine",
            predictions=np.arange(3) * index, large=np.arange(5000.0) + index, tree={"i": [index]},
        )  # fmt: skip
        run.fields["val/acc"] = float(index)
        run.ledger.state = "failed" if index == 3 else "completed"
        run.ledger.duration_s = 0.5
    last = list(experiment.runs.values())[-1]
    last.fields.update(acc=float("nan"), n=2**70, gap=1)
    del last.fields["ok"]
    return experiment.persist()


def test_a_frame_has_what_runs_have(session, experiment):
    frame = session.frame("sweep")
    expected = session.load("sweep").runs.df(params=True, ledger=True)
    assert frame.columns.tolist() == [
        *("id_run", "lr", "model", "param_acc", "acc", "n", "ok", "day", "moment", "state"),
        *("val_acc", "gap", "run_state", "duration_s", "started_at", "error"),
    ]
    expected = expected.rename(columns={"val/acc": "val_acc"})[frame.columns.tolist()]
    assert_frame_equal(frame, expected)
    assert frame["n"].tolist()[-1] == 2**70
    assert frame.dtypes.astype(str)[["param_acc", "ok", "moment", "gap"]].tolist() == [
        *("int64", "boolean", "datetime64[us]", "Int64"),
    ]


def test_rows_and_columns_are_chosen_by_the_database(session, experiment):
    frame = session.frame(
        "sweep",
        ["predictions", "large", "tree", "val/acc", "model"],
        where="lr < :lr AND model IN :models AND acc > 0.3",
        params={"lr": 0.05, "models": ["svc", HOSTILE]},
    )
    assert frame.columns.tolist() == ["predictions", "large", "tree", "val/acc", "model"]
    assert [cell.tolist() for cell in frame["predictions"]] == [[0, 4, 8], [0, 5, 10]]
    assert [cell[0] for cell in frame["large"]] == [4.0, 5.0]
    assert frame["tree"].tolist() == [{"i": [4]}, {"i": [5]}]
    assert session.frame("sweep", ["n"], where="run_state = 'failed'")["n"].tolist() == [3]
    assert session.frame("sweep", ["n"], "moment = :m AND ok", {"m": MOMENT}).shape == (4, 1)


def test_rows_come_in_the_order_that_is_asked_for(session, experiment):
    def numbers(**options):
        return session.frame("sweep", ["val_acc"], **options)["val_acc"].tolist()

    assert numbers(limit=2) == [0, 1]
    assert numbers(order_by="-acc", limit=3) == [6, 5, 4]
    assert numbers(order_by=["model DESC", "param_acc", "-lr"]) == [2, 6, 3, 7, 0, 4, 1, 5]
    assert numbers(order_by="model DESC, param_acc, -lr") == [2, 6, 3, 7, 0, 4, 1, 5]
    assert numbers(order_by="val/acc DESC", limit=1) == [7]
    assert numbers(order_by="ok", where="n >= 6") == [6, 7]  # what is missing comes last
    assert numbers(order_by="-tree") == list(range(7, -1, -1))
    assert numbers(limit=0) == []


def test_dtypes_are_there_without_rows(session, experiment):
    frame = session.frame("sweep", where="n < 0")
    assert frame.shape == (0, 16)
    shown = frame.dtypes.astype(str)[["acc", "param_acc", "ok", "started_at"]].tolist()
    assert shown == ["float64", "Int64", "boolean", "datetime64[us, UTC]"]
    assert frame["model"].dtype == typed(["text"]).dtype


def test_hostile_values_and_keys_stay_what_they_are(session):
    experiment = session.add_experiment("odd \"n'ame").add_runs(x=[HOSTILE, "plain"])
    for run in experiment.runs.values():
        run.fields.update({"text": run.params.x, 'k"e`y :x': 1, "ctid": 2})
    experiment.persist()
    name = experiment.name
    for column in ("x", "text"):
        frame = session.frame(name, where=f"{column} = :v", params={"v": HOSTILE})
        assert frame["text"].tolist() == [HOSTILE]
    assert session.frame(name, ['k"e`y :x', "ctid"]).values.tolist() == [[1, 2]] * 2
    found = session.load(name, where="x = :v", params={"v": HOSTILE})
    assert [run.fields.text for run in found.runs.values()] == [HOSTILE]


REFUSED = [
    ({"where": "acuracy > 1"}, mltraq.FieldNotFound, r"'sweep' has no column 'acuracy'.*'acc'"),
    ({"where": "acc > 1; DROP TABLE e_sweep"}, mltraq.InvalidInput, "semicolon"),
    ({"where": "acc > 1 -- more"}, mltraq.InvalidInput, "comment"),
    ({"where": "acc > 1 /* more */"}, mltraq.InvalidInput, "comment"),
    ({"where": "acc > 1) OR (1 = 1"}, mltraq.InvalidInput, "parentheses"),
    ({"where": "model = 'svc"}, mltraq.InvalidInput, "quote"),
    ({"where": "  "}, mltraq.InvalidInput, "condition"),
    ({"where": 3}, mltraq.InvalidInput, "condition"),
    ({"where": "model = '\ud800'"}, mltraq.QueryFailed, "statement has a lone surrogate"),
    ({"where": "model = :m", "params": {"m": "\ud800"}}, mltraq.QueryFailed, ":m has a lone"),
    ({"where": "acc >"}, mltraq.QueryFailed, "refused the condition"),
    ({"where": "id_run IN (DELETE FROM e_sweep RETURNING id_run)"}, mltraq.QueryFailed, "refused"),
    ({"where": "DELETE FROM e_sweep"}, mltraq.QueryFailed, "refused"),
    ({"where": "n IN (SELECT n FROM nowhere)"}, mltraq.QueryFailed, "nowhere"),
    ({"where": "acc > :a"}, mltraq.QueryFailed, "asks for :a; given params: none"),
    ({"where": "acc > 1", "params": [1]}, mltraq.InvalidInput, "by name"),
    ({"params": {"a": 1}}, mltraq.InvalidInput, "where"),
    ({"columns": ["acuracy"]}, mltraq.FieldNotFound, r"no column 'acuracy'.*'lr'"),
    ({"columns": "acc"}, mltraq.InvalidInput, r"\['acc'\]"),
    ({"order_by": "-nothing"}, mltraq.FieldNotFound, "'nothing'"),
    ({"order_by": "acc; DROP"}, mltraq.FieldNotFound, "'acc; DROP'"),
    ({"order_by": "acc, nothing DESC"}, mltraq.FieldNotFound, "no column 'nothing'"),
    ({"order_by": [3]}, mltraq.InvalidInput, "order_by"),
    ({"limit": -1}, mltraq.InvalidInput, "limit"),
    ({"limit": True}, mltraq.InvalidInput, "limit"),
]


def test_what_cannot_be_used_is_one_clear_error(session, experiment):
    for options, error, text in REFUSED:
        with pytest.raises(error, match=text):
            session.frame("sweep", **options)
        if options.keys() <= {"where", "params"}:
            with pytest.raises(error, match=text):
                session.load("sweep", **options)
    with pytest.raises(mltraq.ExperimentNotFound, match="nothing"):
        session.frame("nothing", where="x = 1")
    for ask in (session.load, session.frame, lambda n: session.export(n, "a.csv")):
        with pytest.raises(mltraq.ExperimentNotFound, match="udcff"):
            ask("\udcff")  # as the command line has what is no UTF-8
        with pytest.raises(mltraq.InvalidName, match="name 3 is of type int"):
            ask(3)
    with pytest.raises(mltraq.InvalidInput, match="pickle"):
        session.load("sweep", pickle=True, where="n = 1")
    for ask in (session.load, lambda name, columns: session.export(name, "a.csv", columns=columns)):
        with pytest.raises(mltraq.InvalidInput, match=r"\['acc'\]"):
            ask("sweep", columns="acc")
    with pytest.raises(mltraq.InvalidInput, match="by name"):
        session.query("SELECT 1", [1])
    assert session._store.find_runs("sweep", "é") == []
    assert len(session.frame("sweep")) == len(session.frame("sweep", limit=2**70)) == 8


def told_by(session, where):
    """Return the error of a condition, which some databases take, as text."""
    try:
        return str(session.frame("secret", where=where, params={"d": DAY}).empty)
    except mltraq.QueryFailed as error:
        return str(error)


def test_errors_quote_no_stored_value(session):
    experiment = session.add_experiment("secret").add_runs(x=[1])
    experiment.runs.first().fields.update(word="hunter2", day="hunter3")
    experiment.persist()
    for where in ("CAST(word AS integer) = 1", "CAST(day AS date) > :d"):
        told = told_by(session, where)
        assert "hunter" not in told


def test_a_misspelt_quoted_name_is_not_taken_for_text(tmp_path):
    """SQLite would compare the text with the number, and find every run."""
    with mltraq.create_session(f"sqlite:///{tmp_path}/a.db") as session:
        session.add_experiment("a").add_runs(acc=[1, 2]).persist()
        assert len(session.frame("a", where='"acc" > 1')) == 1
        with pytest.raises(
            mltraq.FieldNotFound, match=r"'acuracy'.*a text has single quotes: 'acuracy'"
        ):
            session.frame("a", where='"acuracy" > 1')


def test_a_name_in_capitals_works_or_is_told_how_to_be_written(session, url):
    """PostgreSQL alone takes names without quotes for names in small letters."""
    session.add_experiment("a").add_runs(N=[1, 2]).persist()
    for ask in (session.frame, lambda *given, **more: session.load(*given, **more).runs):
        if url.startswith("postgresql"):
            with pytest.raises(mltraq.QueryFailed, match='write "N"'):
                ask("a", where="N < 2")
            assert len(ask("a", where='"N" < 2')) == 1
        else:
            assert len(ask("a", where="N < 2")) == 1


def test_only_the_chosen_runs_are_read_and_merged(session, experiment):
    part = session.load("sweep", where="n BETWEEN :a AND 2", params={"a": 1}, columns=["n"])
    assert [run.fields for run in part.runs.values()] == [{"n": 1}, {"n": 2}]
    with pytest.raises(mltraq.InvalidInput, match="part"):
        part.persist("replace")
    session.query("SELECT 1 AS one")
    for run in part.runs.values():
        run.fields.extra = 10 * run.fields.n
    part.persist("merge")
    frame = session.frame("sweep", ["n", "extra", "val_acc"])
    assert frame["extra"].tolist()[1:3] == [10, 20]
    assert frame["extra"].isna().sum() == 6
    assert frame["val_acc"].tolist() == [*map(float, range(8))]
    pending = session.load("sweep", pending="later", where="n < 2")
    assert [run.fields.n for run in pending.runs.values()] == [0, 1]
    assert pd.isna(session.frame("sweep", ["gap"]).iloc[0, 0])
