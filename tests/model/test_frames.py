"""Frames of runs: dtypes that say what the values are, and values that are what was tracked."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltraq_prefect import LedgerEntry, Run, Runs
from mltraq_prefect.model.dtypes import typed

TEXT = pd.Series(["a"]).dtype
"""``str`` in pandas 3, object before."""
MOMENT = dt.datetime(1, 2, 3, 4, 5, 6, 7)

DTYPES = [
    ([True, np.False_], "bool"),
    ([True, None], "boolean"),
    ([1, np.int8(2)], "int64"),
    ([2**53 + 1, None, pd.NA], "Int64"),
    ([1.5, np.float32(0.1)], "float64"),
    ([1.5, None, float("nan")], "float64"),
    ([1, 2.5], "float64"),
    ([2**53 + 1, 2.5], "object"),
    ([2**63, 1], "object"),
    ([np.uint64(2**63)], "object"),
    ([np.longdouble("0.1")], "object"),
    (["a", np.str_("b\0")], TEXT),
    (["a", None], TEXT),
    (["\ud800"], "object"),
    ([MOMENT, None], "datetime64[us]"),
    ([MOMENT.replace(tzinfo=dt.UTC), pd.NaT], "datetime64[us, UTC]"),
    ([MOMENT.replace(fold=1)], "object"),
    ([MOMENT, MOMENT.replace(tzinfo=dt.UTC)], "object"),
    ([dt.timedelta(days=10**6, microseconds=1), None], "timedelta64[us]"),
    ([np.datetime64("2020-01-01", "s"), None], "datetime64[s]"),
    ([np.datetime64("2020-01-01", "D")], "object"),
    ([np.timedelta64(1, "ns")], "timedelta64[ns]"),
    ([pd.Timestamp("2020-01-01", tz="Europe/Zurich")], "datetime64[us, Europe/Zurich]"),
    ([pd.Timestamp(1), pd.Timestamp(2, unit="D", tz="UTC")], "object"),
    ([dt.date(2020, 1, 1), None], "object"),
    ([decimal.Decimal(1)], "object"),
    ([True, 1], "object"),
    (["1", 1], "object"),
    ([None, None], "object"),
    ([], "object"),
]


@pytest.mark.parametrize(("values", "dtype"), DTYPES)
def test_a_column_has_the_dtype_of_its_values_and_gives_them_back(values, dtype):
    column = typed(values)
    if isinstance(dtype, str) and "Zurich" in dtype:  # pandas 2 has nanoseconds
        assert isinstance(column.dtype, pd.DatetimeTZDtype)
    else:
        assert column.dtype == dtype
    for found, value in zip(column, values, strict=True):
        assert (pd.isna(value) and pd.isna(found)) or found == value


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.datetimes(), st.timedeltas()
)


@given(st.lists(SCALARS, max_size=6))
def test_any_mixture_comes_back(values):
    for found, value in zip(typed(values), values, strict=True):
        assert (pd.isna(value) and pd.isna(found)) or found == value


def test_arrays_stay_what_they_are():
    arrays = [np.arange(3), np.arange(3)]
    column = typed(arrays)
    assert column.shape == (2,)
    assert column[0] is arrays[0]


def test_no_column_takes_the_place_of_another():
    params, fields = {"x": 1, "param_x": 2, "state": 3}, {"x": 4, "id_run": 5, "run_state": 6}
    frame = Runs([Run("a", params=params, fields=fields)]).df(params=True, ledger=True)
    assert frame.columns.tolist()[:8] == [
        *("id_run", "param_x", "param_param_x", "state"),
        *("x", "field_id_run", "run_state", "run_run_state"),
    ]
    assert frame.iloc[0].tolist()[:8] == ["a", 1, 2, 3, 4, 5, 6, "pending"]


def test_params_and_ledger_are_beside_the_fields():
    started = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    done = LedgerEntry("completed", started_at=started, duration_s=0.5)
    runs = Runs([
        Run("a", params={"lr": 0.1, "Loss": 1}, fields={"loss": 2, "state": "x"}, ledger=done),
        Run("b", params={"depth": 3}, fields={"loss": 4}),
    ])  # fmt: skip
    frame = runs.df(params=True, ledger=True)
    assert frame.columns.tolist() == [
        *("id_run", "lr", "param_Loss", "depth", "loss", "state"),
        *("run_state", "duration_s", "started_at", "error"),
    ]
    assert frame.dtypes.astype(str).tolist()[1:5] == ["float64", "Int64", "Int64", "int64"]
    assert frame["run_state"].tolist() == ["completed", "pending"]
    assert frame["started_at"].tolist() == [started, pd.NaT]
    assert frame.nlargest(1, "loss")["id_run"].tolist() == ["b"]
    assert {"loss", "duration_s"} <= set(frame.describe().columns)
    assert Run(params={"x": 1}).df(params=True)["x"].tolist() == [1]
    assert runs.df().columns.tolist() == ["id_run", "loss", "state"]
