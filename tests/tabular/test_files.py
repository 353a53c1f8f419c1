"""Experiments as files and back: every value equal, or refused before there is a file."""

import datetime as dt
import decimal
import json
import uuid
import zoneinfo

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.storage import Store
from mltraq_prefect.storage.series.series_chunks import SERIES_START

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
NAN = float("nan")
VALUES = {
    "bool": [True, None, False],
    "int": [1, None, -(2**53)],
    "long": [2**62, 1],
    "unsigned": [2**63 + 1],
    "big": [2**70, 1],
    "float": [1.0, NAN, float("inf"), -0.0],
    "int_float": [1, 2.5],
    "text": ["a", "b\0", "", "=1+1"],
    "surrogate": ["\ud800"],
    "bytes": [b"x", b""],
    "datetime": [dt.datetime(2026, 1, 2, 3, 4, 5, 6)],
    "zoned": [dt.datetime(2026, 7, 1, tzinfo=PARIS), dt.datetime(2026, 1, 1, tzinfo=PARIS)],
    "zones": [dt.datetime(2026, 7, 1, tzinfo=PARIS), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
    "some_zoned": [dt.datetime(2026, 7, 1, tzinfo=PARIS), dt.datetime(2026, 1, 1)],
    "date": [dt.date(2026, 1, 2)],
    "time": [dt.time(1, 2, 3, 4)],
    "zoned_time": [dt.time(1, tzinfo=dt.UTC)],
    "timedelta": [dt.timedelta(1, 2, 3)],
    "eons": [dt.timedelta.max],
    "timestamp": [pd.Timestamp("2026-01-01 00:00:00.123456789", tz="Europe/Paris")],
    "units": [pd.Timestamp("2026-01-01").as_unit("s"), pd.Timestamp("2026-01-01").as_unit("ns")],
    "nanoseconds": [pd.Timedelta(5, unit="ns")],
    "uuid": [uuid.UUID(int=7)],
    "decimal": [decimal.Decimal("1.00")],
    "json": [{"a": [1, None, 2.5]}, [1, "b"]],
    "list": [[1.0, NAN], [], None, [2.5]],
    "lists": [[1.0], ["a"]],
    "odd_list": [[NAN, 1.0], {"x": 1}],
    "array": [np.arange(3, dtype="f4"), None, np.array([], "f4")],
    "matrix": [np.arange(6, dtype=">i2").reshape(2, 3, order="F"), np.ones((1, 4), ">i2")],
    "cube": [np.arange(24.0).reshape(2, 3, 4)],
    "empty_matrix": [np.ones((0, 3))],
    "half": [np.ones(2, "f2")],
    "flags": [np.array([True, False])],
    "times": [np.array(["2026-01-01", "NaT"], "M8[ns]")],
    "words": [np.array(["abc", "d"])],
    "complex": [np.array([1j])],
    "dtypes": [np.array([1], "i1"), np.array([1], "i2")],
    "scalar": [np.float32(0.1), None],
    "point": [np.array(5)],
    "strided": [np.arange(10)[::2]],
    "frame": [pd.DataFrame({"x": [1, 2]}), None],
    "set": [{1, 2}],
    "mixed": [1, "a"],
    "Text": ["of another case"],
}
PLAIN = ("bool", "int", "float", "text", "datetime", "date", "time", "timedelta", "uuid", "json")


def is_same(one, other):
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and np.array_equal(one, other, equal_nan=one.dtype.kind in "fM")
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return type(one) is type(other) and (one == other or (one != one and other != other))


@pytest.fixture
def stored(session):
    experiment = session.add_experiment("values")
    for i in range(4):
        run = experiment.add_run(lr=i * 0.1, **({"optimizer": "adam"} if i else {}), int=3)
        run.fields |= {k: v[i] for k, v in VALUES.items() if i < len(v) and v[i] is not None}
        run.fields.error = "mine"
        run.ledger.state, run.ledger.duration_s = "completed", 0.5
        run.ledger.started_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    experiment.persist()
    return session


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "feather"])
def test_everything_comes_back(stored, tmp_path, suffix):
    file = tmp_path / f"values.{suffix}"
    stored.export("values", file)
    loaded = stored.load("values").runs
    back = stored.import_frame(file, "values").runs
    assert list(back) == list(loaded)
    for run, own in zip(loaded.values(), back.values(), strict=True):
        assert dict(own.params) == dict(run.params)
        assert own.fields.keys() == run.fields.keys()
        for key, value in run.fields.items():
            if key == "int_float":  # a column of floats
                assert own.fields[key] == value
            else:
                assert is_same(value, own.fields[key]), key
        assert own.ledger.started_at == run.ledger.started_at
        assert (own.ledger.state, own.ledger.duration_s) == ("completed", 0.5)


def test_what_others_read_in_a_file(stored, tmp_path):
    stored.export("values", tmp_path / "values.parquet")
    schema = pq.read_schema(tmp_path / "values.parquet")
    assert schema.names[:4] == ["id_run", "lr", "param_int", "optimizer"]
    assert {"int", "error", "run_error", "field_Text", "text"} <= set(schema.names)
    assert schema.field("array").type == pa.list_(pa.float32())
    assert schema.field("matrix").type == pa.list_(pa.list_(pa.int16()))
    assert schema.field("int").type == pa.int64()
    assert schema.field("zoned").type == pa.timestamp("us", "Europe/Paris")
    assert schema.field("started_at").type == pa.timestamp("us", "UTC")


def test_text_files(stored, tmp_path):
    for suffix in ("csv", "jsonl", "xlsx"):
        stored.export("values", tmp_path / f"values.{suffix}", columns=PLAIN)
    frame = pd.read_csv(tmp_path / "values.csv")
    assert frame["lr"].tolist() == [0.0, 0.1, 0.2, 0.30000000000000004]
    assert frame["timedelta"][0] == 86402.000003
    assert json.loads(frame["json"][0]) == {"a": [1, None, 2.5]}
    first, second, *_ = map(json.loads, (tmp_path / "values.jsonl").read_text().splitlines())
    assert (first["param_int"], first["json"], second["float"]) == (3, {"a": [1, None, 2.5]}, None)
    assert first["uuid"] == str(uuid.UUID(int=7))
    sheet = openpyxl.load_workbook(tmp_path / "values.xlsx").active
    names, *rows = sheet.iter_rows(values_only=True)
    texts = [row[names.index("text")] for row in rows]
    assert texts == ["a", "b\ufffd", None, "=1+1"]
    cell = sheet.cell(5, names.index("text") + 1)
    assert cell.data_type == "s"  # no formula


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx"])
def test_back_from_text(stored, tmp_path, suffix):
    """What such files do not keep, types above all, does not come back; the rest does."""
    stored.export("values", tmp_path / f"v.{suffix}", columns=["bool", "int", "text", "error"])
    back = stored.import_frame(tmp_path / f"v.{suffix}", "new", ["lr", "param_int", "optimizer"])
    first, second, third, _ = back.runs.values()
    assert dict(first.params) == {"lr": 0.0, "int": 3}
    assert dict(third.params) == {"lr": 0.2, "int": 3, "optimizer": "adam"}
    assert (third.fields["int"], third.fields["bool"]) == (-(2**53), False)
    assert first.fields.error == "mine"
    assert "int" not in second.fields
    assert (first.ledger.state, first.ledger.error, first.ledger.duration_s) == (
        "completed",
        None,
        0.5,
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "xlsx"])
def test_what_text_does_not_hold_is_refused(stored, tmp_path, suffix):
    file = tmp_path / f"values.{suffix}"
    with pytest.raises(mltraq.InvalidInput, match=r"'frame'.*\.parquet.*columns=\['bool'\]"):
        stored.export("values", file, columns=["frame", "bool"])
    assert not [path for path in tmp_path.iterdir() if path.suffix == file.suffix]


def test_forms_that_later_runs_change(session, tmp_path, monkeypatch):
    """The file is begun with the first runs; it is begun anew when others do not fit."""
    monkeypatch.setattr("mltraq_prefect.tabular.sources.MOST_BYTES", 1)
    experiment = session.add_experiment("late")
    for i in range(60):
        fields = {"grows": i, "breaks": [1.0], "flips": i}
        fields |= {"late": i} if i > 40 else {}
        if i == 50:
            fields |= {"grows": 0.5, "breaks": {"a": NAN}, "flips": "x"}
        experiment.add_run(i=i).fields |= fields
    experiment.persist()
    session.export("late", tmp_path / "late.parquet")
    schema = pq.read_schema(tmp_path / "late.parquet")
    kinds = [schema.field(name).type for name in ("grows", "late", "flips", "breaks")]
    assert kinds == [pa.float64(), pa.int64(), pa.binary(), pa.binary()]
    back = list(session.import_frame(tmp_path / "late.parquet", "late").runs.values())
    assert [run.fields.flips for run in back] == [*range(50), "x", *range(51, 60)]
    assert [run.fields.get("late") for run in back] == [None] * 41 + [*range(41, 60)]


def test_more_runs_than_are_read_at_once(session, tmp_path):
    experiment = session.add_experiment("many").add_runs(i=range(2_500))
    for run in experiment.runs.values():
        run.fields.y = run.params.i / 2
    experiment.persist()
    session.export("many", tmp_path / "many.parquet")
    assert pq.read_table(tmp_path / "many.parquet")["i"].to_pylist() == list(range(2_500))


def test_a_whole_database_is_listed_once(stored, tmp_path, monkeypatch):
    """Else an export of many experiments takes the square of their number."""
    lists, ls = [], Store.ls
    monkeypatch.setattr(Store, "ls", lambda *args, **kw: lists.append(1) or ls(*args, **kw))
    for name in "abc":
        stored.add_experiment(name).persist()
    stored.export(None, tmp_path / "all")
    assert len(lists) == 1


def test_series_are_read_together_whose_first_rows_are_gone(session):
    """A step that is executed anew leaves the numbers of its rows free."""

    def first(run):
        run.log(0, a=1)

    def second(run):
        run.log(0, b=1)

    def first_anew(run):
        run.log(0, a=2)

    first_anew.__name__ = "first"
    experiment = session.add_experiment("anew").add_runs(x=range(3))
    experiment.execute([first, second], backend="local").persist()
    session.load("anew").execute(first_anew, backend="local").persist("merge")
    series = session.load("anew").runs.first().series
    assert series["seq"].tolist() == [1, 2]
    place, chunks = SERIES_START, []
    while place is not None:
        chunks.append(session._store.series_chunk("anew", place))
        place = chunks[-1].next
    assert [len(chunk.rows) for chunk in chunks] == [3]


def test_a_whole_database(stored, tmp_path):
    stored.add_experiment("Müller/2").add_runs(x=[1, 2]).persist()
    stored.add_experiment("empty").persist()
    folder = tmp_path / "all"
    stored.export(None, folder)
    index = pd.read_csv(folder / "experiments.csv")
    assert index["name"].tolist() == ["Müller/2", "empty", "values"]
    rows = [pq.read_metadata(folder / file).num_rows for file in index["file"]]
    assert rows == index["runs"].tolist() == [2, 0, 4]
    assert len(list(folder.iterdir())) == 4
    with pytest.raises(mltraq.InvalidInput, match="is not empty"):
        stored.export(None, folder)
    (folder / "mine").touch()
    stored.export(None, folder, overwrite=True)
    assert len(list(folder.iterdir())) == 5


def test_a_file_is_complete_or_not_there(stored, tmp_path):
    file = tmp_path / "values.csv"
    file.write_text("mine")
    before = set(tmp_path.iterdir())
    with pytest.raises(mltraq.InvalidInput, match=r"exists.*overwrite=True"):
        stored.export("values", file)
    with pytest.raises(mltraq.InvalidInput, match="CSV has no cells"):
        stored.export("values", file, overwrite=True)
    with pytest.raises(mltraq.FieldNotFound):
        stored.export("values", file, columns=["nothing"], overwrite=True)
    assert set(tmp_path.iterdir()) == before
    assert file.read_text() == "mine"
    stored.export("values", file, columns=["int"], overwrite=True)
    assert file.read_text().startswith('"id_run"')


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("x.sqlite", mltraq.InvalidInput, r"suffix.*\.parquet"),
        ("nowhere/x.csv", mltraq.InvalidInput, "cannot be written"),
        ("folder.csv", mltraq.InvalidInput, "is a folder"),
    ],
)
def test_where_nothing_can_be_written(stored, tmp_path, path, error, text):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(error, match=text):
        stored.export("values", tmp_path / path, columns=["int"])
    with pytest.raises(mltraq.ExperimentNotFound):
        stored.export("value", tmp_path / "x.csv")
