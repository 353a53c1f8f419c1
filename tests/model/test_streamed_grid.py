"""The runs of a large grid are those that it would have if all were made at once."""

import itertools

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

import mltraq_prefect as mltraq
from mltraq_prefect.codecs import buffers
from mltraq_prefect.model import grid as grids
from mltraq_prefect.model.grid import Grid
from mltraq_prefect.model.streamed_grid import StreamedGrid

VALUES = st.one_of(st.integers(0, 3), st.sampled_from([0.5, "a", None, True, (1, 2), np.int64(2)]))
AXES = st.dictionaries(st.sampled_from("abc"), st.lists(VALUES, min_size=1, max_size=4))


def told(runs):
    return [(run.id_run, dict(run.params), type(run.params)) for run in runs]


@hypothesis.given(axes=AXES, rows=st.none() | st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_ids_params_and_replicates_are_those_of_all_runs_at_once(axes, rows):
    frame = None if rows is None else pd.DataFrame({"row": rows, "twice": rows})
    with mltraq.create_session("sqlite://") as session:
        experiment = session.add_experiment("same").add_runs(frame, **axes)
    streamed = StreamedGrid(Grid(frame, axes), "same", buffers)
    found = [run for start in range(0, len(streamed), 3) for run in streamed.runs(start, start + 3)]
    assert told(found) == told(experiment.runs.values())


def test_ranges_arrays_and_frames_are_taken_in_part(monkeypatch):
    monkeypatch.setattr(grids, "MAX_POINTS", 10)
    monkeypatch.setattr(grids, "ROWS_AT_ONCE", 7)
    frame = pd.DataFrame({"n": range(20), "name": [f"name {n}" for n in range(20)]})
    array = np.linspace(0, 1, 11)
    streamed = StreamedGrid(Grid(frame, {"x": array, "y": range(2)}), "parts", buffers)
    expected = itertools.product(range(20), array, range(2))
    found = [run.params for run in streamed.runs(0, len(streamed))]
    assert [(own["n"], own["x"], own["y"]) for own in found] == list(expected)
    assert {type(own["x"]) for own in found} == {np.float64}
    assert {type(own["n"]) for own in found} == {int}
    assert streamed.runs(430, 999)[-1].params["name"] == "name 19"


def test_what_is_changed_later_changes_no_run(monkeypatch):
    monkeypatch.setattr(grids, "MAX_POINTS", 2)
    values, array, frame = [1, 2, 3], np.arange(3), pd.DataFrame({"n": [1, 2, 3]})
    made = Grid(frame, {"a": values, "b": array})
    values[0], array[0], frame.loc[0, "n"] = 9, 9, 9
    assert made.at([0, 0, 0]) == {"n": 1, "a": 1, "b": 0}


def test_many_replicates_are_made_in_linear_time():
    streamed = StreamedGrid(Grid(None, {"N": [1] * 20_000}), "many", buffers)
    assert len({run.id_run for run in streamed.runs(0, 20_000)}) == 20_000


def test_what_nothing_identifies_is_refused(session, monkeypatch):
    monkeypatch.setattr(grids, "MAX_POINTS", 1)
    experiment = session.add_experiment("nameless")
    with pytest.raises(
        mltraq.InvalidGrid, match=r"nothing identifies param 'x' .*make it in a step"
    ):
        experiment.add_runs(x=[1, (n for n in [1])])
    assert len(experiment.runs) == 0
