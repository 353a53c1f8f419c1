"""Steps are checked before anything runs, and fingerprinted by what they do."""

import functools

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution import as_steps, differences


def one(run):
    run.fields.x = 1


def scaled(run, factor):
    run.fields.x = factor


def scaled_by_two(run):
    run.fields.x = 2


def fingerprint(step, kwargs=None, seed=0):
    return as_steps(step, kwargs or {}, seed)[0].fingerprint


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (3, "steps must be a function of one run, or a list of them, not 3"),
        ([one, "two"], "a step must be a function of one run, not 'two'"),
        (lambda: None, "cannot be called with one run as its only argument"),
        (scaled, "step 'scaled' cannot be called with one run as its only argument: missing"),
    ],
)
def test_what_is_no_step_is_refused(steps, message):
    experiment = mltraq.create_session().add_experiment("e").add_runs(N=[1])
    with pytest.raises(mltraq.InvalidStep, match=message):
        experiment.execute(steps)
    assert experiment.runs.first().ledger.state == "pending"


def test_an_async_step_is_refused():
    async def later(run):
        pass

    with pytest.raises(mltraq.InvalidStep, match="step 'later' is async"):
        as_steps(later, {}, 0)


def test_equal_names_are_told_apart():
    steps = as_steps([one, functools.partial(scaled, factor=2), one], {}, 0)
    assert [step.name for step in steps] == ["one", "scaled", "one_2"]


def test_the_fingerprint_follows_code_kwargs_and_seed():
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(one, {"P": 1})
    assert fingerprint(one) != fingerprint(one, seed=1)
    assert fingerprint(one) != fingerprint(functools.partial(scaled, factor=2))
    two, three = functools.partial(scaled, factor=2), functools.partial(scaled, factor=3)
    assert fingerprint(two) != fingerprint(three)


def test_the_fingerprint_follows_what_contains_itself():
    def capturing(first):
        held = [first]
        held.append(held)
        return lambda run: run.fields.update(x=held[0])

    assert fingerprint(capturing(1)) == fingerprint(capturing(1))
    assert fingerprint(capturing(1)) != fingerprint(capturing(2))


def test_the_fingerprint_ignores_comments_and_layout():
    def plain(run):
        run.fields.x = 1

    first = fingerprint(plain)

    def plain(run):
        # a comment
        run.fields.x   =   1  # fmt: skip

    assert fingerprint(plain) == first


def test_a_step_that_changes_params_fails_by_name():
    def rename(run):
        run.params.N = 2

    experiment = mltraq.create_session().add_experiment("e").add_runs(N=[1])
    with pytest.raises(mltraq.RunsFailed, match=r"step 'rename' changed run.params\['N'\]"):
        experiment.execute(rename, backend="local")


FACTOR = 2


def helper(x):
    return x + 1


def uses_helper(run):
    run.fields.x = helper(run.params.N) * FACTOR


def test_the_fingerprint_follows_helpers_constants_and_captured_values(monkeypatch):
    before = fingerprint(uses_helper)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    other_constant = fingerprint(uses_helper)
    monkeypatch.setitem(globals(), "helper", one)
    assert len({before, other_constant, fingerprint(uses_helper)}) == 3

    def capturing(offset):
        def step(run):
            run.fields.x = offset

        return step

    assert fingerprint(capturing(1)) == fingerprint(capturing(1))
    assert fingerprint(capturing(1)) != fingerprint(capturing(2))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"step": scaled_by_two}, ["other code"]),
        ({"kwargs": {"P": 1}}, ["other kwargs"]),
        ({"seed": 1}, ["other seed (0 -> 1)"]),
        ({"kwargs": {"P": 1}, "seed": 1}, ["other kwargs", "other seed (0 -> 1)"]),
        ({}, []),
    ],
)
def test_differences_of_fingerprints_are_named(change, named):
    now = fingerprint(**({"step": one} | change))
    assert differences(fingerprint(one), now) == named
