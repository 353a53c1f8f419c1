"""What steps reach beside their run is as it was for each attempt, wherever it is executed."""

import functools
import itertools
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.execution.frozen_values import SHARED_BYTES
from tests.ways import both_ways, plainly

LOCAL = {"backend": "local"}
IN_A_TASK = {"inside": True}
PROCESSES = [{"n_jobs": n, "runs_per_task": runs} for n in (1, 2) for runs in (1, 5)]
THREADS = {"backend": "threads", "n_jobs": 1, "runs_per_task": 5}
isolated = both_ways("options", [LOCAL, *PROCESSES], with_task_runs=[IN_A_TASK, PROCESSES[-1]])
RUNS = 6


def executed(steps, options, kwargs=None, params=None, **further):
    experiment = mltraq.create_session("sqlite://").add_experiment("e")
    experiment.add_runs(N=range(RUNS), **(params or {}))
    options = {"on_error": "keep"} | options | further
    if not options.pop("inside", False):
        experiment.execute(steps, kwargs, **options)
        return experiment

    from prefect import flow, task  # not at the top: workers import this module

    @task
    def nested():
        experiment.execute(steps, kwargs, **options)

    flow(nested)()
    return experiment


def results(experiment):
    return [dict(run.fields).get("x") for run in experiment.runs.values()]


def errors(experiment):
    return [run.ledger.error for run in experiment.runs.values() if run.ledger.error]


def note(run, value):
    run.fields.x = [*run.fields.get("x", []), value]


def is_same_in_each(experiment, steps):
    first, *others = results(experiment)
    return len(first) == steps and others == [first] * (RUNS - 1)


class Holder:
    """An object of the user's: what it holds is found through it alone."""

    total = 0

    def __init__(self):
        self.count = 0
        self.rng = np.random.default_rng(7)
        self.nested = {"items": [[]]}

    def __call__(self, run):
        self.count += 1
        self.nested["items"][0].append(run.params.N)
        note(run, [self.count, len(self.nested["items"][0]), self.rng.integers(1000)])

    def method(self, run):
        self(run)

    def on_class(self, run):
        type(self).total += 1
        note(run, [type(self).total, hasattr(type(self), "late")])
        type(self).late = 1


def closure_list():
    seen, array, objects = [], np.zeros(2), np.array([None, []], dtype=object)

    def step(run):
        seen.append(run.params.N)
        array[0] += 1
        objects[1].append(1)
        note(run, [len(seen), float(array[0]), len(objects[1])])

    return step


def closure_dict():
    counts, names = {"n": 0}, set()

    def step(run):
        counts["n"] += 1
        counts[run.params.N] = names.add(run.params.N)
        note(run, [counts["n"], len(counts), len(names)])

    return step


def rebound():
    n = 0

    def step(run):
        nonlocal n
        n += 1
        note(run, n)

    return step


def default():
    def step(run, seen=[], *, more={}):  # noqa: B006
        seen.append(1)
        more[run.params.N] = 1
        note(run, [len(seen), len(more)])

    return step


def own_attribute():
    def step(run):
        step.calls = getattr(step, "calls", 0) + 1
        note(run, step.calls)

    return step


def in_a_helper():
    def helper(memo=[]):  # noqa: B006
        memo.append(1)
        return len(memo)

    def step(run):
        note(run, helper())

    return step


def partial():
    return functools.partial(_given, seen=[])


def _given(run, seen):
    seen.append(1)
    note(run, len(seen))


def class_attribute():
    class Config:
        seen = []  # noqa: RUF012
        total = 0

    def step(run):
        Config.seen.append(1)
        Config.total += 1
        note(run, [len(Config.seen), Config.total, hasattr(Config, "late")])
        Config.late = 1

    return step


STEPS = [
    closure_list, closure_dict, rebound, default, own_attribute, in_a_helper, partial,
    class_attribute, Holder, lambda: Holder().method, lambda: Holder().on_class,
]  # fmt: skip


@isolated
def test_what_steps_bring_along_is_as_it_was_for_each_run(options):
    assert is_same_in_each(executed([make() for make in STEPS], options), len(STEPS))
    assert Holder.total == 0
    assert not hasattr(Holder, "late")


MODULE = """
import numpy as np

total, numbers, table, names, array = 0, [1], {"n": 0}, {1}, np.zeros(3)


class Config:
    seen = []
    total = 0


def note(run, value):
    run.fields.x = [*run.fields.get("x", []), value]


def rebind(run):
    global total, late
    total += 1
    try:
        late += 1
    except NameError:
        late = 1
    note(run, [total, late])


def change(run):
    numbers.append(run.params.N)
    table["n"] += 1
    names.add(run.params.N + 10)
    array[0] += 1
    Config.seen.append(1)
    Config.total += 1
    counts = [len(numbers), table["n"], len(names), float(array[0])]
    note(run, [*counts, len(Config.seen), Config.total])


def default(run, seen=[]):
    seen.append(1)
    note(run, len(seen))


class Counter:
    total = 0

    def __call__(self, run):
        type(self).total += 1
        note(run, self.total)


def count(seen=[]):
    seen.append(1)
    numbers.append(1)
    return [len(seen), len(numbers)]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "shared_state.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    import shared_state

    yield shared_state
    sys.modules.pop("shared_state", None)


@isolated
def test_what_steps_of_modules_change_is_as_it_was_for_each_run(options, module):
    steps = [module.rebind, module.change, module.default, module.Counter()]
    assert is_same_in_each(executed(steps, options), len(steps))
    assert module.total == module.Config.total == module.Counter.total == 0
    assert module.array.tolist() == [0, 0, 0]


@isolated
@pytest.mark.parametrize("place", ["kwargs", "params"])
def test_functions_that_inputs_lead_to_are_as_they_were(options, place, module):
    seen = []

    def captures():
        seen.append(1)
        return len(seen)

    def step(run):
        run.fields.x = [getattr(run, place).one(), getattr(run, place).other()]

    inputs = {"one": captures, "other": module.count}
    if place == "params":
        inputs = {name: [value] for name, value in inputs.items()}
    assert is_same_in_each(executed(step, options, **{place: inputs}), 2)


@isolated
def test_a_retry_finds_all_as_it_was(options):
    tries = []

    def step(run):
        tries.append(1)
        if len(tries) < 2:
            raise ValueError(f"try {len(tries)}")

    failed = errors(executed(step, options, retries=2))
    assert len(failed) == RUNS
    assert all("ValueError: try 1" in error for error in failed)
    if "runs_per_task" not in options:
        assert len(tries) == 3 * RUNS


@isolated
def test_the_next_step_finds_all_as_it_was(options):
    table = {}

    def first(run):
        table["a"] = run.params.N

    def second(run):
        run.fields.x = len(table)

    assert results(executed([first, second], options)) == [0] * RUNS


@both_ways("options", [LOCAL], with_task_runs=[IN_A_TASK])
def test_what_was_added_is_there_at_the_end(options, module):
    calls, by_run, seen, nested = ["before"], {"before": 1}, {"before"}, [[]]

    def first(run):
        calls.append(("first", run.params.N))
        by_run[run.params.N] = len(by_run)
        seen.add(run.params.N)
        nested[0].append(run.params.N)
        module.numbers.append(run.params.N)

    def second(run):
        calls.append(("second", run.params.N))

    executed([first, second], options)
    both = [(name, n) for n in range(RUNS) for name in ("first", "second")]
    assert calls == ["before", *both]
    assert by_run == {"before": 1} | dict.fromkeys(range(RUNS), 1)
    assert seen == {"before", *range(RUNS)}
    assert nested == [[*range(RUNS)]]
    assert module.numbers == [1, *range(RUNS)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_was_added_is_there_after_an_exception(error):
    calls, counts = [], [0]

    def step(run):
        calls.append(run.params.N)
        counts[0] += 1
        if run.params.N == 2:
            raise error("on purpose")

    with pytest.raises((mltraq.RunsFailed, KeyboardInterrupt)):
        executed(step, LOCAL | {"on_error": "stop"})
    assert calls == [0, 1, 2]
    assert counts == [0]


def test_what_is_more_than_an_addition_is_undone():
    removed, replaced, turned = [1, 2], [1], {"a": 1, "b": 2}

    def step(run):
        removed.pop()
        removed.append(3)
        removed.append(4)
        replaced[0] = 5
        turned["a"] = turned.pop("a")
        del turned["b"]

    assert errors(executed(step, LOCAL)) == []
    assert (removed, replaced, turned) == ([1, 2], [1], {"a": 1, "b": 2})


def test_a_change_in_the_program_is_told_once(caplog):
    calls, counts = [], [0]

    def step(run):
        calls.append(run.params.N)
        counts[0] += 1

    with caplog.at_level(logging.WARNING):
        executed(step, LOCAL)
    told = [record.getMessage() for record in caplog.records if "put back" in record.getMessage()]
    assert len(told) == 2
    assert "step 'step' changes calls captured by step, which is put back after each run" in told[0]
    assert "what is added to it is there when the execution has ended" in told[0]
    assert "counts captured by step" in told[1]
    assert "added" not in told[1]


@isolated
def test_large_arrays_are_read_only_while_steps_are_executed(options):
    array = np.zeros(SHARED_BYTES // 8)
    view = array[1:]

    def step(run):
        if run.params.N:
            run.fields.x = float(array.sum() + view.sum())
        else:
            array[0] = 1

    experiment = executed(step, options)
    assert len(errors(experiment)) == 1
    assert "read-only" in errors(experiment)[0]
    assert results(experiment) == [None, *[0.0] * (RUNS - 1)]
    array[0] = view[0] = 1


def test_what_is_not_of_steps_is_left_alone():
    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=range(3))
    runs = experiment.runs

    def step(run):
        run.fields.x = sum("x" in other.fields for other in runs.values())
        run.fields.e = len(experiment.runs)

    experiment.execute(step, backend="local")
    assert [run.fields for run in runs.values()] == [{"x": n, "e": 3} for n in range(3)]


def _iterators():
    yield from ([1], (1,), {1: 1}, range(9), "abc")


ITERATORS = {
    "list": lambda: iter([*range(99)]),
    "count": itertools.count,
    "zip": lambda: zip(range(99), range(99), strict=True),
    "generator": _iterators,
    "nested": lambda: {"a": [map(str, range(99))]},
    "bound": lambda: itertools.count().__next__,
}


@plainly
@pytest.mark.parametrize("options", [LOCAL, THREADS, {"n_jobs": 1}], ids=str)
@pytest.mark.parametrize("make", ITERATORS.values(), ids=ITERATORS)
def test_iterators_that_runs_would_share_are_refused(options, make):
    taken = make()
    holder = Holder()
    holder.source = taken

    def captures(run):
        run.fields.x = taken

    def by_default(run, source=taken):
        run.fields.x = source

    def through_an_object(run):
        run.fields.x = holder.source

    for step in (captures, by_default, through_an_object):
        with pytest.raises(mltraq.InvalidStep, match="reads from an iterator of type"):
            executed(step, options)


def test_open_files_stay_shared(tmp_path):
    with (tmp_path / "log").open("w") as file:

        def step(run):
            file.write(f"{run.params.N}\n")

        assert errors(executed(step, LOCAL)) == []
    assert (tmp_path / "log").read_text().split() == [str(n) for n in range(RUNS)]


@plainly
def test_threads_are_told_once_what_they_share(caplog, module):
    calls = []

    def step(run):
        calls.append(run.params.N)
        module.table["n"] += 1
        run.fields.x = [len(module.names), module.array.sum()]

    with caplog.at_level(logging.WARNING):
        executed(step, THREADS)
    messages = [record.getMessage() for record in caplog.records]
    told = sorted(message for message in messages if "threads of this process share" in message)
    assert len(told) == 2
    assert told[0].startswith("step 'step' changes calls captured by step, which all threads")
    assert told[1].startswith("step 'step' changes table of module shared_state, which all threads")
    assert sorted(calls) == [*range(RUNS)]


@plainly
def test_threads_that_change_nothing_are_told_nothing(caplog):
    names = ["a"]

    def step(run):
        run.fields.x = names[0]

    with caplog.at_level(logging.WARNING):
        executed(step, THREADS)
    assert "threads of this process share" not in caplog.text


def test_executions_in_several_threads_do_not_put_back_what_others_need(caplog):
    calls, meet = [], threading.Barrier(2, timeout=180)

    def step(run):
        before = len(calls)
        calls.append(run.params.N)
        meet.wait()
        run.fields.x = len(calls) > before
        meet.wait()

    done = []
    with caplog.at_level(logging.WARNING):
        threads = [
            threading.Thread(target=lambda: done.append(executed(step, LOCAL))) for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(180)
    assert [results(experiment) for experiment in done] == [[True] * RUNS] * 2
    assert sorted(calls) == sorted([*range(RUNS)] * 2)
    assert "which all threads of this process share" in caplog.text


SCRIPT = """
import json
import sys

import mltraq_prefect as mltraq

total, calls, table = 0, [], {"n": 0}


class Config:
    seen = []


def step(run):
    global total
    total += 1
    calls.append(run.params.N)
    table["n"] += 1
    Config.seen.append(1)
    run.fields.x = [total, len(calls), table["n"], len(Config.seen)]


if __name__ == "__main__":
    found = []
    for options in json.loads(sys.argv[1]):
        experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=range(4))
        experiment.execute(step, **options)
        found.append([run.fields.x for run in experiment.runs.values()])
    print(json.dumps([found, total, calls, table]))
"""


def test_what_a_script_has_is_as_it_was_for_each_run(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    options = [{"n_jobs": 1, "runs_per_task": 4}, {"backend": "local"}]
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", json.dumps(options)],
        env=os.environ | {"PREFECT_API_URL": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found, *left = json.loads(done.stdout.splitlines()[-1])
    assert found == [[[1, 1, 1, 1]] * 4] * 2
    assert left == [0, [0, 1, 2, 3], {"n": 0}]


def test_params_of_an_experiments_runs_cannot_be_changed(session):
    experiment = session.add_experiment("e").add_runs(N=[1])
    run = experiment.runs.first()
    for change in (
        lambda params: params.update(N=2),
        lambda params: params.__setitem__("M", 2),
        lambda params: setattr(params, "N", 2),
        lambda params: params.pop("N"),
        lambda params: params.clear(),
    ):
        with pytest.raises(mltraq.InvalidInput, match="run N=1: its params identify it"):
            change(run.params)
    experiment.persist()
    with pytest.raises(mltraq.InvalidInput, match="run N=1"):
        session.load("e").runs.first().params["N"] = 2
    assert run.params == {"N": 1}
