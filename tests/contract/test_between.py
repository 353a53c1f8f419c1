"""Experiments go from any database to any other, and are the same there."""

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from tests.contract.conftest import BACKENDS, empty_database
from tests.contract.test_values import COLUMNS
from tests.values import assert_same_experiment


@pytest.fixture(params=BACKENDS)
def other_url(request, tmp_path):
    (tmp_path / "other").mkdir()
    with empty_database(request.param, tmp_path / "other") as url:
        yield url


def fill(experiment):
    """Give its runs one value of each kind, and some that no column holds."""
    experiment.add_runs(N=range(9), pair=[(1, 2)])
    for place, run in enumerate(experiment.runs.values()):
        for key, cells in COLUMNS.items():
            if place < len(cells) and cells[place] is not ...:
                run.fields[key] = cells[place]
        run.fields["large"] = np.arange(5_000.0) + place
        run.fields["own frame"] = pd.DataFrame({"a": [place, 2], "b": ["x", None]})


def test_a_copy_in_another_database_is_the_same(url, other_url):
    with mltraq.create_session(url) as here, mltraq.create_session(other_url) as there:
        experiment = here.add_experiment("to copy", note="é", pair=(1, 2))
        fill(experiment)
        experiment.persist()
        there.persist(here.load("to copy"))
        assert_same_experiment(there.load("to copy"), experiment)
        here.persist(there.load("to copy"), if_exists="replace")
        assert_same_experiment(here.load("to copy"), experiment)
        there.persist(here.load("to copy"), if_exists="merge")
        assert [row.revision for row in there.ls().itertuples()] == [1]


def test_delete_and_create_again_elsewhere(url, other_url):
    with mltraq.create_session(url) as here, mltraq.create_session(other_url) as there:
        here.add_experiment("again").add_runs(N=[1, 2]).persist()
        there.persist(here.load("again")).delete()
        assert there.ls().empty
        there.persist(here.load("again"))
        sql, params = "SELECT count(*) AS n FROM {experiment} WHERE id_run <> :none", {"none": "x"}
        assert there.load("again").query(sql, params)["n"].tolist() == [2]
