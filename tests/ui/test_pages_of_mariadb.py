"""The same pages of experiments in MariaDB, which counts and averages by SQL of its own."""

import pytest

from tests import servers
from tests.ui.test_results_pages import (  # noqa: F401
    client_of,
    fill,
    test_a_leaderboard_leads_to_its_runs_and_these_to_a_run,
    test_curves_are_of_the_values_of_the_param_that_is_chosen,
    test_each_part_of_an_experiment_has_an_address,
    test_experiments_and_groups_are_compared,
    test_hostile_names_and_values_are_shown_as_text,
    test_runs_are_filtered_sorted_and_chosen,
    test_the_list_of_experiments,
)


@pytest.fixture(scope="module")
def client():
    with servers.mariadb_database() as url:
        fill(url)
        with client_of(url) as opened:
            yield opened
