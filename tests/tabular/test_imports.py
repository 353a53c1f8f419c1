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


def test_a_table_of_others_may_have_columns_of_our_names(session):
    frame = pd.DataFrame({"id_run": ["a"], "state": ["Bavaria"], "error": ["0.1"]})
    run = session.import_frame(frame, "states").runs.first()
    assert dict(run.fields) == {"state": "Bavaria", "error": "0.1"}


@pytest.mark.parametrize(
    ("source", "params", "text"),
    [
        ([1, 2], None, "a list is no table"),
        (pd.DataFrame({"x": [1]}), ["y"], "no column 'y'; its columns: 'x'"),
        (pd.DataFrame({"x": [1]}), "x", "params is 'x'; give a list"),
        (pd.DataFrame([[1, 2]]), None, "name of column 0 is no text"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), None, "two columns 'x'"),
        ("nowhere.csv", None, "nowhere.csv cannot be read"),
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
