"""Tables of others as experiments."""

import contextlib
import datetime as dt
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mltraq_prefect as mltraq


def test_a_frame(session):
    frame = pd.DataFrame(
        {
            "lr": [0.1, 0.01],
            "layers": pd.array([2, pd.NA], "Int64"),
            "when": pd.to_datetime(["2026-01-01 10:00", None]),
            "name": pd.array(["a", None], "str"),
            "loss": [np.nan, 0.5],
            "curve": [np.arange(2), [1, 2]],
        }
    )
    experiment = session.import_frame(frame, "sweep", params=["lr", "layers"])
    first, second = experiment.persist().runs.values()
    assert dict(first.params) == {"lr": 0.1, "layers": 2}
    assert dict(second.params) == {"lr": 0.01}
    assert first.fields.when == dt.datetime(2026, 1, 1, 10)
    assert np.isnan(first.fields.loss)
    assert set(second.fields) == {"loss", "curve"}
    assert second.ledger.state == "completed"
    expected = session.add_experiment("sweep").add_run(lr=0.1, layers=2)
    assert first.id_run == expected.id_run
    session.import_frame(frame, "sweep", params=["lr", "layers"]).persist("merge")
    assert len(session.load("sweep").runs) == 2


def test_an_arrow_table_and_what_gives_one(session):
    table = pa.table({"x": [1, 2], "y": [[1.0], None]})

    class Foreign:
        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    for source in (table, Foreign()):
        runs = list(session.import_frame(source, "arrow", ["x"]).runs.values())
        assert [dict(run.params) for run in runs] == [{"x": 1}, {"x": 2}]
        assert [dict(run.fields) for run in runs] == [{"y": [1.0]}, {}]


def test_what_pandas_reads_of_our_csv(session, tmp_path):
    experiment = session.add_experiment("ours").add_runs(x=[1, 2])
    experiment.persist()
    session.export("ours", tmp_path / "ours.csv")
    frame = pd.read_csv(tmp_path / "ours.csv")
    assert frame["error"].dtype == "float64"
    runs = session.import_frame(frame, "again", ["x"]).runs.values()
    assert [(dict(run.params), run.ledger.state) for run in runs] == [
        ({"x": 1}, "pending"),
        ({"x": 2}, "pending"),
    ]
    assert all(run.ledger.error is None and not run.fields for run in runs)


def test_a_table_of_others_may_have_columns_of_our_names(session):
    frame = pd.DataFrame({"id_run": ["a"], "state": ["Bavaria"], "error": ["0.1"]})
    run = session.import_frame(frame, "states").runs.first()
    assert dict(run.fields) == {"state": "Bavaria", "error": "0.1"}


@pytest.mark.parametrize(
    ("source", "params", "text"),
    [
        ([1, 2], None, "a list is not a table"),
        (pd.DataFrame({"x": [1]}), ["y"], "no column 'y'; its columns: 'x'"),
        (pd.DataFrame({"x": [1]}), "x", "params is 'x'; give a list"),
        (pd.DataFrame([[1, 2]]), None, "name of column 0 is not text"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), None, "two columns 'x'"),
        ("nowhere.csv", None, "there is no file nowhere.csv"),
        ("program.exe", None, "says no format"),
        (
            pd.DataFrame({"id_run": ["a"], "state": ["failed"], "attempts": ["many"]}),
            None,
            "'attempts' of the table holds something else",
        ),
    ],
)
def test_what_is_no_table(session, source, params, text):
    with pytest.raises(mltraq.InvalidInput, match=text):
        session.import_frame(source, "x", params)
    assert session.ls().empty


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "jsonl", "csv", "xlsx"])
@pytest.mark.parametrize("content", [b"\xff\x00garbage\x80" * 20, b"", b'[1]\n"a"\n', b"5\n"])
def test_files_that_are_something_else(session, tmp_path, suffix, content):
    file = tmp_path / f"x.{suffix}"
    file.write_bytes(content)
    of_nearly_anything = suffix in ("csv", "jsonl")
    told = pytest.raises(mltraq.InvalidInput, match=re.escape(str(file)))
    with contextlib.suppress(mltraq.InvalidInput) if of_nearly_anything else told:
        session.import_frame(file, "x")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("x.csv", "a,name\n1,Müller\n".encode("latin-1"), "column 'name' is not UTF-8 text"),
        ("x.csv", "größe\n1\n".encode("latin-1"), "utf-8"),
        ("x.jsonl", b'{"a": 1}\n[1]\n', "a line is not an object"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(session, tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(mltraq.InvalidInput, match=f"{name} is not an? .* file: .*{text}"):
        session.import_frame(tmp_path / name, "x")


def test_numbers_of_excel_have_one_type_and_its_texts_are_texts(session, tmp_path):
    experiment = session.add_experiment("sheet").add_runs(penalty=["None", "NA", "null"])
    for run, lr, epochs in zip(experiment.runs.values(), (0.5, 2.0, 1e300), (1, 2, 3), strict=True):
        run.fields.update(lr=lr, epochs=epochs)
    del run.fields["epochs"]
    experiment.persist()
    session.export("sheet", tmp_path / "sheet.xlsx")
    again = session.import_frame(tmp_path / "sheet.xlsx", "again", ["penalty"])
    assert [dict(run.params) for run in again.runs.values()] == [
        {"penalty": "None"},
        {"penalty": "NA"},
        {"penalty": "null"},
    ]
    lr = [run.fields.lr for run in again.runs.values()]
    assert (lr, set(map(type, lr))) == ([0.5, 2.0, 1e300], {float})
    epochs = [run.fields.get("epochs") for run in again.runs.values()]
    assert (epochs, type(epochs[0])) == ([1, 2, None], int)


def test_what_csv_writes_with_leading_zeros_is_text(session, tmp_path):
    (tmp_path / "x.csv").write_text(
        "code,n,zero,part,long,x\n007,1,0,-01,0123456789012345678901234,0.5\n010,-20,-0,,1,-0.5e-01\n"
    )
    found = session.import_frame(tmp_path / "x.csv", "x", ["code"])
    assert [run.params.code for run in found.runs.values()] == ["007", "010"]
    assert [dict(run.fields) for run in found.runs.values()] == [
        {"n": 1, "zero": 0, "part": "-01", "long": "0123456789012345678901234", "x": 0.5},
        {"n": -20, "zero": 0, "long": "1", "x": -0.05},
    ]


def test_files_of_ours_that_somebody_has_changed(session, tmp_path):
    experiment = session.add_experiment("x")
    experiment.add_run(x=1).fields.values = {1}
    experiment.persist()
    session.export("x", tmp_path / "x.parquet")
    table = pa.parquet.read_table(tmp_path / "x.parquet")
    place = table.schema.get_field_index("values")
    own = table.schema.field("values")
    damaged = table.set_column(place, own, pa.array([b"MLTQ nothing"]))
    with pytest.raises(mltraq.CorruptData):
        session.import_frame(damaged, "x")
    for text in (b"[]", b"{", b'{"source": "lost", "key": "a", "python": "int"}'):
        described = table.set_column(place, own.with_metadata({b"mltraq": text}), table["values"])
        with pytest.raises(mltraq.CorruptData, match="'values'"):
            session.import_frame(described, "x")


def scale(run):
    run.fields.scaled = 2 * run.params.x


def judge(run):
    raise ValueError("one is bad")


def test_the_step_that_failed_is_the_one_that_its_error_names(session):
    """With checkpoints it need not be the one to be tried next, which is the first."""
    experiment = session.add_experiment("sweep").add_runs(x=[1])
    experiment.execute([scale, judge], backend="local", checkpoint=True, on_error="keep")
    frame = session.load("sweep").runs.df(params=True, ledger=True).reset_index()
    (run,) = session.import_frame(frame, "shown", params=["x"]).runs.values()
    assert run.ledger.step == "judge"
    frame["step"] = "scale"
    (run,) = session.import_frame(frame, "whole", params=["x"]).runs.values()
    assert run.ledger.step == "scale"
    assert {step: entry.state for step, entry in run.ledger.executions.items()} == {
        "judge": "failed"
    }
    assert "one is bad" in run.ledger.executions["judge"].error
