"""What is written comes back exactly, and SQL sees what is natural."""

import datetime as dt
import decimal
import json
import math
import re
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mltraq_prefect.errors import StoreError, UnsupportedType
from mltraq_prefect.model.run import Run
from tests import values
from tests.contract.records import (
    assert_same_marks,
    assert_same_runs,
    backend_of,
    make_record,
    make_run,
    with_values,
)
from tests.values import assert_identical

slow = settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NAIVE = dt.datetime(2024, 2, 29, 23, 59, 59, 999999)
FAR = [
    np.array(count, dtype)[()]
    for count, dtype in ((2**62, "M8[25s]"), (-(2**62), "M8[7D]"), (2**62, "m8[25s]"))
]
"""Times that Python has not, and that NumPy 2.5 refuses to show or convert."""

FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([5, 6], name="i"))

COLUMNS = {
    "bool": [True, False],
    "int": [1, -(2**63), 2**63 - 1],
    "float": [0.1 + 0.2, 1e308, 5e-324, -1.5],
    "nan": [1.0, math.nan, math.inf, -math.inf, 0.0, -0.0],
    "text": ["a", "A", "a ", "é", "e\u0301", "", "%s:x{y}\\'\"`", "日本😀", "x" * 70_000],
    "nul": ["a\0b", "\0", "ab"],
    "surrogate": ["\ud800", "?"],
    "bytes": [b"", b"\0\xff'\\", b"x" * 70_000],
    "datetime": [NAIVE, dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)],
    "aware": [NAIVE.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))), NAIVE],
    "fold": [NAIVE.replace(fold=1), NAIVE],
    "date": [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
    "time": [dt.time(), dt.time(23, 59, 59, 999999)],
    "aware time": [dt.time(1, tzinfo=dt.UTC), dt.time(1)],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
    "json": [{}, [], {"a": [1, 2.5, None, "é", {"b": True}]}, [0.1, 1.0, 1, 2**63 - 1, "\0"]],
    "near json": [[1.0, math.nan], (1, [2]), {1: 2}, [2**70], [np.float64(1)], {"a": ()}, ()],
    "big int": [2**63, -(2**70), 10**400, 1],
    "mixed numbers": [1, 2.5, True, np.float32(0.1), np.int8(3), decimal.Decimal("0.10")],
    "number and text": [1.5, "failed", 2.5, None, ...],
    "text and number": ["a", "b", 1],
    "array in some": [1.5, 2.5, np.arange(3), None],
    "number in some": [np.arange(3), np.zeros(2), 1.5, None],
    "date and datetime": [dt.date(2020, 1, 1), dt.datetime(2020, 1, 1), dt.date(2021, 1, 1)],
    "none": [None, None, ...],
    "none and int": [None, ..., 1],
    "numpy": [np.float64(0.1), np.float64(math.nan), np.float64(-0.0)],
    "numpy int": [np.int64(-(2**63)), np.int64(1)],
    "numpy uint": [np.uint64(2**64 - 1), np.uint64(1)],
    "numpy bool": [np.True_, np.False_],
    "numpy text": [np.str_("é"), np.str_("a"), np.str_("a\0")],
    "numpy bytes": [np.bytes_(b"a"), np.bytes_(b"a\0"), np.bytes_(b"\0\0"), np.bytes_(b"")],
    "numpy in json": [[np.str_("a\0")], {"a": np.str_("\0")}],
    "numpy half": [np.float16(0.1), np.float16(math.inf)],
    "numpy long": [np.longdouble("0.1"), np.longdouble(2)],
    "numpy time": [np.datetime64("2020-01-01T00:00:00.000000001", "ns"), np.datetime64("NaT")],
    "numpy time out of reach": FAR,
    "timedelta": [dt.timedelta(days=-1, microseconds=1), np.timedelta64(5, "m")],
    "complex": [1 + 2j, complex(math.nan, -0.0)],
    "decimal": [decimal.Decimal("0.10"), decimal.Decimal("NaN"), decimal.Decimal("1e999999")],
    "timestamp": [pd.Timestamp("2020-01-01T00:00:00.000000001", tz="Europe/Rome"), pd.NaT, pd.NA],
    "frame": [FRAME, FRAME["a"], FRAME.index, None],
    "set": [{1, 2}, frozenset("ab"), {1: {2}}],
}


@pytest.mark.parametrize("values_", COLUMNS.values(), ids=COLUMNS)
def test_column_comes_back(store, values_):
    record = with_values(*values_)
    written = store.write(record, "fail")
    found = store.read("values")
    assert_same_runs(found.runs, record.runs)
    assert_same_marks(written.snapshot, found.snapshot)


def test_all_columns_together(store):
    """One table with every kind of column, most of its cells missing."""
    fields = [
        {key: cells[i] for key, cells in COLUMNS.items() if i < len(cells) and cells[i] is not ...}
        for i in range(9)
    ]
    record = make_record(runs=[make_run(i, **item) for i, item in enumerate(fields)])
    store.write(record, "fail")
    assert_same_runs(store.read(record.name).runs, record.runs)


@slow
@given(column=st.lists(values.values() | values.json_values(), min_size=1, max_size=4))
def test_any_values_come_back(store, column):
    record = with_values(*column)
    written = store.write(record, "replace")
    found = store.read("values")
    assert_same_runs(found.runs, record.runs)
    assert_same_marks(written.snapshot, found.snapshot)


@slow
@given(column=st.lists(values.scalars(), min_size=1, max_size=8))
def test_any_scalars_come_back(store, column):
    record = with_values(*column)
    store.write(record, "replace")
    assert_same_runs(store.read("values").runs, record.runs)


def test_params_that_numpy_cannot_show_are_described_and_come_back(store):
    runs = [make_run(i, params={"at": at, "all": [at]}) for i, at in enumerate(FAR)]
    record = make_record(runs=runs)
    store.write(record, "fail")
    found = store.read(record.name).runs
    assert_same_runs(found, record.runs)
    assert all(run.describe().startswith("at=") and "all=" in run.describe() for run in found)


@slow
@given(params=st.dictionaries(st.text(min_size=1).filter(str.isidentifier), values.scalars()))
def test_params_come_back(store, params):
    record = make_record(runs=[make_run(0, params=params)])
    store.write(record, "replace")
    assert_same_runs(store.read(record.name).runs, record.runs)


def test_params_without_a_codec_are_kept_as_text(store):
    record = make_record(runs=[Run(params={"f": np.mean, "c": Run, "n": 1, "g": lambda: 0})])
    store.write(record, "fail")
    params = store.read(record.name).runs[0].params
    assert params["f"] == "numpy.mean"
    assert params["c"] == "mltraq_prefect.model.run.Run"
    assert "lambda" in params["g"]
    assert params["n"] == 1


def test_fields_of_the_experiment_come_back(store):
    fields = {"note": "é", "weights": np.arange(3.0), "none": None, "t": (1, 2), "日本": 2**70}
    store.write(make_record(fields=fields), "fail")
    found = store.read("coin toss")
    assert_identical(fields, found.fields)


def test_numbers_average(store):
    record = make_record(
        runs=[
            make_run(0, error=0, n=1, share=np.float32(0.5), label="a", ok=True),
            make_run(1, error=0.5, n=2, share=np.float32(1.5), label="b", ok=False),
            make_run(2, error=None, n=3, share=np.float32(1), label="a", ok=True),
        ]
    )
    store.write(record, "fail")
    _, rows = store.query(
        "SELECT avg(error), sum(n), avg(share), count(error) FROM {e} "
        "WHERE label LIKE 'a%' OR ok = :no",
        {"no": False},
        names={"e": "coin toss"},
    )
    assert [float(cell) for cell in rows[0]] == [0.25, 6, 1, 2]


def test_types_of_columns_are_natural(store):
    record = make_record(
        runs=[make_run(0, b=True, i=1, f=1.5, t="x", d=NAIVE, day=NAIVE.date(), u=uuid.UUID(int=5))]
    )
    store.write(record, "fail")
    _, ((b, i, f, t, d, day, u),) = store.query(
        "SELECT b, i, f, t, d, day, u FROM {e}", names={"e": "coin toss"}
    )
    assert (b, i, f, t) == (True, 1, 1.5, "x")
    assert str(d) == str(NAIVE)
    assert str(day) == "2024-02-29"
    assert str(u) == str(uuid.UUID(int=5))


JSON_SQL = {
    "sqlite": "SELECT json_extract(d, '$.a[1]') FROM {e}",
    "postgresql": "SELECT d->'a'->>1 FROM {e}",
    "mariadb": "SELECT JSON_EXTRACT(d, '$.a[1]') FROM {e}",
    "duckdb": "SELECT json_extract(d, '$.a[1]') FROM {e}",
}


@pytest.mark.parametrize("tree", [{"a": [1, 2]}, {"a": (1, np.int64(2))}])
def test_trees_answer_to_json_functions(store, tree):
    store.write(make_record(runs=[make_run(0, d=tree)]), "fail")
    _, rows = store.query(JSON_SQL[backend_of(store)], names={"e": "coin toss"})
    assert int(rows[0][0]) == 2


def test_params_are_json(store):
    store.write(
        make_record(runs=[make_run(0, params={"N": 25, "f": np.mean, "t": (1, 2)})]), "fail"
    )
    _, rows = store.query("SELECT params FROM experiment_runs")
    assert json.loads(rows[0][0]) == {"N": 25, "f": "numpy.mean", "t": [1, 2]}


def test_unsupported_value_is_refused_before_anything_is_written(store):
    runs = [make_run(0, scores=[1]), make_run(1, scores=[0, 1, 2, {"a": object()}])]
    with pytest.raises(UnsupportedType) as caught:
        store.write(make_record("tries", runs), "fail")
    text = str(caught.value)
    assert text.startswith(
        "experiment 'tries', run N=1: fields.scores[3]['a'] is of type object, which cannot be"
    )
    assert not store.exists("tries")


def test_unsupported_field_of_an_experiment(store):
    with pytest.raises(UnsupportedType, match=r"experiment 'tries': fields\.x is of type object"):
        store.write(make_record("tries", fields={"x": object()}), "fail")


def test_value_that_no_row_can_take(store):
    """17 MB are beyond MariaDB's default packet, 64 MB is MySQL's: refused by name, or kept."""
    with store._database.reading() as transaction:
        limit, size = transaction.dialect.value_limit(transaction.connection), 17_000_000
    if limit < 10**9:
        with pytest.raises(StoreError, match=r"run N=0.*fields\.x.*max_allowed_packet"):
            store.write(with_values(np.zeros(limit // 2, dtype=np.uint8)), "fail")
        assert not store.exists("values")
        size = limit // 2 - 1000
    record = with_values(np.full(size, 200, dtype=np.uint8))
    store.write(record, "fail")
    assert_same_runs(store.read("values").runs, record.runs)


def test_more_fields_than_columns(store, caplog):
    fields = {f"f{i}": i if i % 2 else f"text {i}" for i in range(2500)}
    record = make_record(runs=[make_run(0, **fields), make_run(1, **fields)])
    store.write(record, "fail")
    (told,) = caplog.messages
    assert re.match(rf"experiment '{record.name}': \d+,?\d+ of its 2,500 fields, such as", told)
    found = store.read(record.name)
    assert_same_runs(found.runs, record.runs)
    part = store.read(record.name, columns=["f1", "f2499"])
    part.runs[0].fields["f2499"] = "changed"
    assert store.write(part, "merge").columns == ["f2499"]
    assert caplog.messages == [told]
    record.runs[0].fields["f2499"] = "changed"
    assert_same_runs(store.read(record.name).runs, record.runs)


def test_more_numbers_than_columns(store):
    """A row of 1,018 doubles is too long for PostgreSQL, whose limit for columns is higher."""
    fields = {f"f{i}": i / 3 for i in range(2100)}
    record = make_record(runs=[make_run(0, **fields)])
    store.write(record, "fail")
    assert_same_runs(store.read(record.name).runs, record.runs)
    assert len(store.query("SELECT * FROM {e}", names={"e": record.name})[0]) >= 800


def test_many_wide_texts_fit_or_overflow(store):
    fields = {f"f{i}": "é" * 100 for i in range(1200)}
    record = make_record(runs=[make_run(0, **fields)])
    store.write(record, "fail")
    assert_same_runs(store.read(record.name).runs, record.runs)
