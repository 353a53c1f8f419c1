"""The contract on a fourth kind of database: the tests of the others, with its URL."""

import pytest

from tests.contract.test_faults import (  # noqa: F401
    faults,
    lose,
    test_a_foreign_table_is_left_alone,
    test_a_lost_acknowledgement,
    test_a_newer_database,
    test_a_newer_experiment,
    test_corrupt_binary_cells_are_named,
    test_each_statement_fails_in_turn,
    test_each_statement_of_a_deletion_fails_in_turn,
)
from tests.contract.test_fourth import registered
from tests.contract.test_large import (  # noqa: F401
    test_a_deleted_experiment_leaves_nothing_behind,
    test_a_loaded_value_is_kept_by_its_run_alone,
    test_one_that_becomes_small_or_goes_leaves_nothing_behind,
    test_they_come_back_after_each_kind_of_write,
    test_threads_that_ask_for_the_same_run_get_the_same_fields,
)
from tests.contract.test_modes import *  # noqa: F403
from tests.contract.test_values import *  # noqa: F403


@pytest.fixture
def url():
    with registered():
        yield "duckdb://"
