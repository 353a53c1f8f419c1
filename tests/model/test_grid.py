"""Grids from iterables, frames and queries; what is no grid is refused before memory is gone."""

import itertools

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq


@pytest.fixture
def experiment(session):
    return session.add_experiment("grid")


def params(experiment):
    return [dict(run.params) for run in experiment.runs.values()]


def test_any_iterable_is_an_axis(experiment):
    experiment.add_runs(a=range(2), b=np.array([0.5, 1.5]), c=(x for x in "xy"))
    expected = itertools.product([0, 1], [0.5, 1.5], ["x", "y"])
    assert [tuple(found.values()) for found in params(experiment)] == list(expected)


def test_rows_of_a_frame_are_runs(experiment):
    experiment.add_runs(pd.DataFrame({"N": [1, 2], "name": ["a", "b"]}))
    assert params(experiment) == [{"N": 1, "name": "a"}, {"N": 2, "name": "b"}]
    assert type(params(experiment)[0]["N"]) is int


def test_a_frame_is_combined_with_a_grid(experiment):
    experiment.add_runs(pd.DataFrame({"N": [1, 2]}), seed=range(2))
    expected = [{"N": n, "seed": seed} for n in (1, 2) for seed in (0, 1)]
    assert params(experiment) == expected


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_names_of_params_that_no_database_can_carry(experiment, name):
    with pytest.raises(mltraq.InvalidName, match="experiment 'grid': param name"):
        experiment.add_run(**{name: 1})
    with pytest.raises(mltraq.InvalidName, match="param name"):
        experiment.add_runs(**{name: [1]})
    assert len(experiment.runs) == 0


def test_a_query_is_a_grid(session, experiment):
    first = session.add_experiment("first").add_runs(N=[1, 2, 3])
    first.execute(lambda run: run.fields.update(error=run.params.N / 2), backend="local")
    first.persist()
    found = session.query("SELECT id_run AS source, error FROM e_first WHERE error >= 1")
    experiment.add_runs(found)
    assert [found["error"] for found in params(experiment)] == [1.0, 1.5]


def test_the_same_run_has_the_same_id_however_it_was_defined(session):
    by_list = session.add_experiment("same").add_runs(N=[1, 2])
    by_array = session.add_experiment("same").add_runs(N=np.arange(1, 3))
    by_frame = session.add_experiment("same").add_runs(pd.DataFrame({"N": [1, 2]}))
    assert list(by_list.runs) == list(by_array.runs) == list(by_frame.runs)


@pytest.mark.parametrize("kind", [np.str_, np.bytes_])
def test_texts_that_differ_in_their_last_characters_are_other_runs(session, kind):
    shorter, longer = (kind(text if kind is np.str_ else text.encode()) for text in ("a", "a\0"))
    first = session.add_experiment("text").add_run(x=shorter)
    assert session.add_experiment("text").add_run(x=shorter).id_run == first.id_run
    assert session.add_experiment("text").add_run(x=longer).id_run != first.id_run


def test_many_replicates_are_made_in_linear_time(experiment):
    experiment.add_runs(N=[1] * 20_000)
    assert len(experiment.runs) == 20_000


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"a": range(1000), "b": range(1000), "c": range(1000)}, r"1,000,000,000 points \(1,000 x"),
        ({"a": range(10**15)}, "1,000,000,000,000,000 points"),
        ({"a": itertools.count()}, "param 'a' has more than 2,000,000 values"),
    ],
    ids=["product", "range", "endless"],
)
def test_a_grid_that_is_too_large_is_refused_with_its_size(experiment, grid, message):
    with pytest.raises(mltraq.InvalidGrid, match=message):
        experiment.add_runs(**grid)
    assert not experiment.runs


@pytest.mark.parametrize(
    ("rows", "grid", "message"),
    [
        (pd.DataFrame({"N": []}), {}, "the frame has no rows"),
        (pd.DataFrame({3: [1]}), {}, "a column of the frame is called 3"),
        (pd.DataFrame([[1, 2]], columns=["N", "N"]), {}, "param 'N' is given twice"),
        (pd.DataFrame({"N": [1]}), {"N": [2]}, "param 'N' is given twice"),
        ([1, 2], {}, "takes a DataFrame whose columns are params, not a list"),
    ],
)
def test_a_frame_that_is_no_grid(experiment, rows, grid, message):
    with pytest.raises(mltraq.InvalidGrid, match=message):
        experiment.add_runs(rows, **grid)
    assert not experiment.runs


def test_an_array_without_dimensions_is_no_list_of_values(session):
    with pytest.raises(mltraq.InvalidGrid, match=r"param 'n' of the grid is .*5.*write n=\["):
        session.add_experiment("scalar").add_runs(n=np.array(5))
