"""Rows of a series are those of one execution, where two workers may execute a run."""

import pytest

from mltraq_prefect.execution.fanout.row_owners import Ended, RowOwners
from mltraq_prefect.model.series import LoggedRows, Rows


def rows(sender, first=0, step="train"):
    return LoggedRows("run", step, Rows(first, [None], [0], {"x": [1.0]}), sender=sender)


@pytest.fixture
def ended():
    return set()


@pytest.fixture
def owners(ended):
    return RowOwners(ended.__contains__)


def settled(owners, sender, *steps):
    return owners.settle(Ended(sender, ["run"], [("run", step) for step in steps]))


def test_rows_of_this_machine_have_no_owner(owners):
    found = [rows(""), rows("", 1)]
    assert owners.admitted(found) == found
    assert settled(owners, "a") == []


def test_the_last_execution_that_begins_to_send_takes_over(owners):
    assert owners.admitted([rows("a"), rows("a", 1)]) == [rows("a"), rows("a", 1)]
    assert owners.admitted([rows("b"), rows("a", 2), rows("b", 1)]) == [rows("b"), rows("b", 1)]
    assert settled(owners, "b", "train") == []


def test_an_execution_that_has_sent_nothing_hears_of_rows_of_others(owners):
    owners.admitted([rows("a"), rows("a", step="test")])
    owners.admitted([rows("b", step="test")])
    assert settled(owners, "b", "test") == [("run", "train")]


def test_rows_that_another_execution_has_replaced_are_given_anew(owners):
    owners.admitted([rows("a"), rows("b")])
    assert settled(owners, "a", "train") == [("run", "train")]
    assert owners.admitted([rows("b", 1), rows("b"), rows("c")]) == []


def test_all_but_the_first_to_end_give_their_rows_anew(owners):
    owners.admitted([rows("a"), rows("b")])
    assert settled(owners, "b", "train") == []
    assert settled(owners, "a", "train") == [("run", "train")]
    assert settled(owners, "c", "test") == [("run", "test"), ("run", "train")]


def test_who_repeats_what_was_lost_hears_decisions(owners, ended):
    owners.admitted([rows("a")])
    settled(owners, "a", "train")
    assert owners.admitted([rows("b")]) == []
    assert owners.judged([rows("b"), rows("a", 1), rows("")]) == [rows("b"), rows("")]
    ended.add("run")
    owners.forget(["run"])
    owners.admitted([rows("b", 1)])
    assert owners.judged([rows("b", 1)]) == []


def test_a_run_that_has_ended_gets_no_more_rows(owners, ended):
    owners.admitted([rows("a")])
    owners.forget(["run"])
    assert owners.admitted([rows("b")]) == [rows("b")]
    ended.add("run")
    assert owners.admitted([rows("c"), rows("b", 1)]) == []
