"""What a step changes in modules is, in worker processes, seen by no other run and by no retry."""

import logging
import sys
import textwrap

import pytest

import mltraq_prefect as mltraq
from tests.ways import in_both_ways, plainly

STATE = """
import collections
import dataclasses
import functools
import threading

import numpy as np

numbers = {"a": [1], "b": {2}}
same = numbers["a"]
ordered = collections.OrderedDict(x=1, y=2)
queue = collections.deque([1], maxlen=3)
letters = bytearray(b"ab")
array = np.zeros(3)
total = 0
lock = threading.Lock()


@dataclasses.dataclass
class Config:
    rate: float = 0.1
    seen = []
    lock: object = None


class Slotted:
    __slots__ = ("x",)


config = Config(lock=lock)
slotted = Slotted()


def memoized(function):
    memo = {}

    @functools.wraps(function)
    def wrapper(value):
        memo.setdefault(value, function(value))
        return len(memo)

    return wrapper


@memoized
def square(value):
    return value * value


def default(value, found=[]):
    found.append(value)
    return len(found)


def counted():
    global total, late
    total += 1
    try:
        late += 1
    except NameError:
        late = 1
    counted.calls = getattr(counted, "calls", 0) + 1
    return [total, late, counted.calls]


@functools.cache
def once():
    return object()
"""

STEPS = """
import state


def change(run):
    n = run.params.N
    found = [len(state.same), sorted(state.numbers), list(state.ordered), list(state.queue)]
    found += [bytes(state.letters).decode(), state.array.tolist(), state.config.rate]
    found += [len(state.Config.seen), hasattr(state.slotted, "x"), hasattr(state.config, "new")]
    state.numbers["a"].append(n)
    state.numbers["b"].add(n)
    state.numbers["c"] = n
    state.ordered.move_to_end("x")
    state.queue.append(n)
    state.letters.extend(b"c")
    state.array[0] += 1
    state.config.rate += 1
    state.config.new = n
    state.Config.seen.append(n)
    state.slotted.x = n
    found += [state.square(n), state.default(n), state.counted()]
    run.fields.found = found
    run.fields.once = id(state.once())


def late(run):
    from later import seen

    seen.append(run.params.N)
    run.fields.seen = len(seen)


def rebind(run):
    state.numbers = {"a": []}
    run.fields.rebound = state.same is state.numbers["a"]


def see(run):
    run.fields.same = state.same is state.numbers["a"]


def fragile(run):
    state.numbers["a"].append(1)
    if run.params.N == 2:
        raise ValueError(len(state.numbers["a"]))


def read(run):
    run.fields.x = len(state.ordered)


def large(run):
    import arrays

    arrays.zeros[0] += 1
"""


OBJECTS = """
import pandas as pd
from sklearn.dummy import DummyClassifier

frame = pd.DataFrame({"x": [1, 2]})
model = DummyClassifier()


def change_objects(run):
    run.fields.objects = [list(frame), vars(model).get("n_classes_")]
    frame["y"] = run.params.N
    model.fit([[0], [1]], [0, 1])
"""


@pytest.fixture
def steps(tmp_path, monkeypatch):
    texts = {"state": STATE, "steps": STEPS, "objects": OBJECTS, "later": "seen = []"}
    texts["arrays"] = "import numpy as np\nzeros = np.zeros(1 << 17)"
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    import steps

    yield steps
    for name in texts:
        sys.modules.pop(name, None)


def executed(functions, **options):
    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=range(4))
    experiment.execute(functions, n_jobs=1, runs_per_task=4, **options)
    return [run.fields for run in experiment.runs.values()]


@in_both_ways
def test_each_run_finds_modules_as_they_were(steps):
    from objects import change_objects

    fields = executed([steps.change, change_objects])
    assert [run.objects for run in fields] == [[["x"], None]] * 4
    found = [run.found for run in fields]
    assert found[0][:4] == [1, ["a", "b"], ["x", "y"], [1]]
    assert found[0][-1] == [1, 1, 1]
    assert found == [found[0]] * 4


@plainly
def test_functools_cache_stays(steps):
    assert len({run.once for run in executed(steps.change)}) == 1


@plainly
def test_modules_that_are_imported_inside_a_step(steps):
    assert [run.seen for run in executed(steps.late)] == [1] * 4


@plainly
def test_objects_are_put_back_in_place(steps):
    found = executed([steps.rebind, steps.see])
    assert [(run.rebound, run.same) for run in found] == [(False, True)] * 4


@plainly
def test_a_closure_changes_a_module(steps):
    state = steps.state

    def step(run):
        state.numbers["a"].append(run.params.N)
        run.fields.n = len(state.numbers["a"])

    assert [run.n for run in executed(step)] == [2] * 4


@plainly
def test_a_function_in_kwargs_changes_a_module(steps):
    def step(run):
        run.fields.n = run.kwargs.count()

    found = executed(step, kwargs={"count": steps.state.counted})
    assert [run.n for run in found] == [[1, 1, 1]] * 4


@in_both_ways
def test_a_retry_finds_modules_as_they_were(steps):
    with pytest.raises(mltraq.RunsFailed, match="ValueError: 2"):
        executed(steps.fragile, retries=2)


@plainly
def test_large_arrays_are_read_only(steps):
    with pytest.raises(mltraq.RunsFailed, match="read-only"):
        executed(steps.large)


@in_both_ways
def test_a_change_is_told_once(steps, caplog):
    with caplog.at_level(logging.WARNING):
        executed(steps.fragile, on_error="keep", retries=1)
    told = [record.message for record in caplog.records if "put back" in record.message]
    assert len(told) == 1
    assert told[0].startswith("step 'fragile' changes numbers of module state, which is put back")


@plainly
def test_a_step_that_changes_nothing_is_told_nothing(steps, caplog):
    with caplog.at_level(logging.WARNING):
        assert [run.x for run in executed(steps.read)] == [2] * 4
    assert "put back" not in caplog.text
