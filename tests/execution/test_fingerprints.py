"""What a fingerprint covers, and what it costs."""

import functools
import importlib
import inspect
import json
import linecache
import logging
import sys
import threading
import tracemalloc
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

import mltraq_prefect as mltraq
from mltraq_prefect.codecs import buffers
from mltraq_prefect.execution import as_steps, refuse_edited
from mltraq_prefect.execution.fingerprints import (
    differences,
    manifest_of_kwargs,
    manifest_of_step,
)
from mltraq_prefect.execution.fingerprints.sources import source_of
from mltraq_prefect.model.identity import code_digest


def cell(code, *, name="__main__", file=None):
    """Return the namespace of a notebook's cell, whose source only `linecache` has."""
    text = f"<ipython-input-{abs(hash(code))}>" if file is None else file
    linecache.cache[text] = (len(code), None, code.splitlines(True), text)
    namespace = {"__name__": name} | ({} if file is None else {"__file__": file})
    exec(compile(code, text, "exec"), namespace)
    return namespace


def parts(code, step="step", **options):
    return manifest_of_step("s", cell(code, **options)[step], buffers).parts


def named(before, after):
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


# -- cells and modules ---------------------------------------------------------------------------

CELL = (
    "RATE = {rate}\ndef helper():\n    return RATE\ndef step(run):\n    run.fields.x = helper()\n"
)


def test_cells_of_a_notebook_are_followed():
    first, second = parts(CELL.format(rate=1)), parts(CELL.format(rate=2))
    assert parts("# other cell\n\n" + CELL.format(rate=1)) == first
    assert named(first, second) == {"value of RATE in module __main__"}


def test_a_script_has_the_same_fingerprint_as_the_module_that_it_is():
    code = CELL.format(rate=1)
    as_script = parts(code, file="/project/study.py")
    assert parts(code, name="study", file="/project/study.py") == as_script
    assert parts(code, name="package.study", file="/elsewhere/package/study.py") == as_script


def test_distributions_count_if_the_code_reaches_them():
    code = "import numpy as np\nimport pandas as pd\ndef step(run):\n    run.fields.x = np.sin(1)\n"
    found = parts(code)
    assert found["version of numpy"] == np.__version__
    assert "version of pandas" not in found
    inside = "def step(run):\n    import sklearn.svm\n    run.fields.x = sklearn.svm.SVC()\n"
    assert parts(inside)["version of sklearn"]


def test_another_minor_version_of_python_is_named():
    (step,) = as_steps(lambda run: None, {}, 0, buffers=buffers)
    parts = dict(step.code.parts)
    older = parts | {"version of Python": "3.10", "code in x": "1"}
    now = parts | {"code in x": "2"}
    before = step.fingerprint.replace(step.code.digest, "0" * 32)
    known = {"0" * 32: older, step.code.digest: now}
    (named,) = differences(before, step.fingerprint, known)
    assert named.startswith("other version of Python (3.10 -> 3.")


def test_results_of_the_earlier_scheme_cannot_be_compared_and_are_refused(session):
    def step(run):
        run.fields.x = 1

    experiment = session.add_experiment("old").add_runs(N=[1])
    experiment.execute(step, backend="local")
    experiment.runs.first().ledger.steps["step"] = "0123456789ab-01234567-0"
    experiment.persist()
    again = session.add_experiment("old").add_runs(N=[1])
    with pytest.raises(mltraq.InvalidInput, match=r"earlier version .* cannot be compared.*accept"):
        again.execute(step, backend="local", checkpoint=True)
    again.execute(step, backend="local", checkpoint="accept")
    again.execute(step, backend="local", checkpoint="replace")
    again.execute(step, backend="local", checkpoint=True)


# -- code ------------------------------------------------------------------------------------------


def code_of(text):
    return cell(text)["f"].__code__


LAYOUTS = [
    "def f(a):\n    if a: return [n for n in range(a)]\n    return None",
    "def f(a):\n    '''Docs.'''\n    if a:\n        # why\n\n        return [n for n in range(a)]"
    "\n    return None",
    "def f(a: int) -> list | None:\n    x: int\n    if a: return [n for n in range(a)]"
    "\n    return None",
    "import math\n\n\n\ndef f(a):\n    if a: return [n for n in (\n        range(a))]\n"
    "    return None",
]


def test_layout_docstrings_and_annotations_are_no_code():
    assert len({code_digest(code_of(text)) for text in LAYOUTS}) == 1


def test_docstrings_do_not_shift_hundreds_of_constants():
    body = "\n".join(f"    if a == {n}.5: return {n}.25" for n in range(300))
    plain, documented = f"def f(a):\n{body}", f"def f(a):\n    'Docs.'\n{body}"
    assert code_digest(code_of(plain)) == code_digest(code_of(documented))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("return a + 1", "return a - 1"),
        ("return 1", "return 1.0"),
        ("return 0.0", "return -0.0"),
        ("return 1", "return True"),
        ("return a.x", "return a.y"),
        ("return a in {1, 2}", "return a in {1, 3}"),
        ("return [x for x in a]", "return [x + 1 for x in a]"),
        ("return lambda: 1", "return lambda: 2"),
        ("yield 1", "return 1"),
        ("try:\n        return a()\n    except ValueError: pass",
         "try:\n        return a()\n    except TypeError: pass"),
        ("while a: a = a - 1\n    return a", "if a: a = a - 1\n    return a"),
    ],
)  # fmt: skip
def test_other_code_has_another_digest(one, other):
    digests = {code_digest(code_of(f"def f(a):\n    {text}")) for text in (one, other)}
    assert len(digests) == 2


# -- costs -----------------------------------------------------------------------------------------


def test_helpers_that_call_each_other_are_followed_once():
    count = 60
    calls = "\n    ".join(f"f{n}()" for n in range(count))
    code = "\n".join(f"def f{n}():\n    {calls}" for n in range(count))
    found = parts(f"{code}\ndef step(run):\n    f0()\n")
    assert sum(name.startswith("code in") for name in found) == count + 1


def test_a_long_chain_of_helpers_is_no_recursion():
    chain = "\n".join(f"def f{n}():\n    return f{n + 1}()" for n in range(3000))
    code = f"{chain}\ndef f3000():\n    return {{}}\ndef step(run):\n    f0()\n"
    assert named(parts(code.format(1)), parts(code.format(2))) == {"code in __main__.f3000"}


def nested(depth, last):
    value = last
    for _ in range(depth):
        value = [value]
    return value


def test_depth_and_cycles_of_values_are_no_recursion():
    def digest(value):
        return manifest_of_kwargs({"v": value}, buffers).digest

    assert digest(nested(20_000, 1)) == digest(nested(20_000, 1)) != digest(nested(20_000, 2))
    loops = [[n] for n in (1, 1, 2)]
    for loop in loops:
        loop.append({"again": loop})
    first, same, other = map(digest, loops)
    assert first == same != other
    shared = [0]
    for _ in range(100):
        shared = [shared, shared]  # 2**100 leaves if it were walked as a tree
    assert digest(shared)


def test_large_kwargs_are_not_copied():
    size = 50_000_000
    kwargs = {
        "array": np.zeros(size // 8),
        "fortran": np.zeros((2, size // 16), order="F"),
        "frame": pd.DataFrame({"a": np.zeros(size // 8)}),
        "nested": {"deep": [np.ones(size // 8)]},
    }
    tracemalloc.start()
    try:
        as_steps(lambda run: None, kwargs, 0, buffers=buffers)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 10


# -- values --------------------------------------------------------------------------------------

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = st.recursive(
    leaves | st.sampled_from([np.float32(1), np.arange(3), len, np.sin, ValueError]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=3)
        | st.builds(lambda value: types.SimpleNamespace(value=value), inner)
    ),
    max_leaves=8,
)


@given(values)
def test_equal_values_have_equal_digests(value):
    import cloudpickle

    again = cloudpickle.loads(cloudpickle.dumps(value))
    first = manifest_of_kwargs({"v": value}, buffers).digest
    assert first == manifest_of_kwargs({"v": again}, buffers).digest
    assert first != manifest_of_kwargs({"v": [value]}, buffers).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1.0, np.float32(1)),
        ([1], (1,)),
        ("a", b"a"),
        (np.zeros(2), np.zeros(2, "f4")),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}, index=[1])),
        ({"a": 1}, {"a": 1, "b": None}),
        (list(range(1000)), [*range(999), 0]),
        ({str(n): n for n in range(1000)}, {str(n): n for n in range(1, 1001)}),
        (types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    ],
)
def test_other_values_have_other_digests(one, other):
    first, second = (manifest_of_kwargs({"v": value}, buffers) for value in (one, other))
    assert set(first.parts) == set(second.parts)
    assert named(first.parts, second.parts) == {"value of v in kwargs"}


class Slots:
    __slots__ = ("own",)


class WithSlots(Slots):
    """Objects that have attributes, too."""


def filled(value, held):
    for name, item in {"own": 0, **held}.items():
        setattr(value, name, item)
    return value


@pytest.mark.parametrize("count", [2, 1000])
@pytest.mark.parametrize(
    ("kind", "is_ordered"),
    [
        (dict, True),
        (types.MappingProxyType, True),
        (lambda held: types.SimpleNamespace(**held), False),
        (lambda held: filled(WithSlots(), held), False),
        (lambda held: functools.partial(dict, {}, held), True),
        (set, False),
    ],
)
def test_the_order_of_a_dict_counts_and_no_other(kind, is_ordered, count):
    forward = {str(n): n for n in range(count)}
    backward = dict(reversed(forward.items()))
    values = [kind(held) for held in (forward, dict(forward), backward)]
    first, again, other = (manifest_of_kwargs({"v": v}, buffers).digest for v in values)
    assert first == again
    assert (first != other) == is_ordered


def test_texts_are_not_written_into_the_parts():
    found = manifest_of_kwargs({"token": "secret", "rate": 0.5}, buffers).parts
    assert "secret" not in str(found)
    assert found["value of rate in kwargs"] == "float 0.5"


# -- what cannot be followed ---------------------------------------------------------------------


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, "mltraq_prefect")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (threading.Lock(), "value of v in kwargs, a lock"),
        (sys.__stderr__, "value of v in kwargs, a TextIOWrapper"),
        ([1, {"a": threading.Lock()}], "value of v in kwargs, a lock"),
    ],
)
def test_what_cannot_be_followed_is_said_once(warnings, value, what):
    subject = f"the test of {what} {type(value)}"
    from mltraq_prefect.execution.fingerprints.reach import Reach

    for _ in range(2):
        reach = Reach(subject, buffers)
        reach.value("value of v in kwargs", value)
        assert reach.manifest().parts
    (message,) = warnings()
    assert message.startswith(f"{subject} reads what cannot be followed: {what} (")


def test_code_that_is_made_while_a_step_runs_is_said_not_to_be_followed(warnings):
    code = "def step(run):\n    exec('run.fields.x = 1')\n"
    manifest_of_step("made", cell(code)["step"], buffers)
    assert "what exec() executes in module __main__" in warnings()[0]


@pytest.mark.parametrize(
    ("read", "what"),
    [
        ("globals()['LR']", "globals() is asked for"),
        ("sys.modules[__name__].LR", "sys.modules is asked for"),
        ("os.environ.get('LR')", "os.environ is asked for"),
        ("os.getenv('LR')", "os.getenv is asked for"),
        ("environ['LR']", "os.environ is asked for"),
        ("getenv('LR')", "os.getenv is asked for"),
        ("Base.__subclasses__()[0].LR", "__subclasses__() finds in"),
        ("(lambda: Base.__subclasses__())()[0].LR", "__subclasses__() finds in"),
    ],
)
def test_what_is_chosen_while_a_step_runs_is_said_not_to_be_followed(warnings, read, what):
    code = "import os, sys\nfrom os import environ, getenv\nLR = 1\nclass Base: pass\n"
    code += f"def step(run):\n    run.fields.x = {read}\n"
    manifest_of_step(f"reads {read}", cell(code)["step"], buffers)
    assert f"reads what cannot be followed: what {what}" in warnings()[0]


def test_an_attribute_of_a_library_is_not_asked_for(monkeypatch):
    def refuse(name):
        raise ImportError(f"{name} needs another library")

    lazy = types.ModuleType("lazy")
    lazy.__file__, lazy.__getattr__ = np.__file__, refuse
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    code = "import lazy\ndef step(run):\n    run.fields.x = lazy.Model\n"
    assert manifest_of_step("lazy", cell(code)["step"], buffers).parts


@pytest.mark.parametrize("environment", ["environ", "held.own", "Held.env"])
def test_environment_variables_are_no_part_of_a_fingerprint(monkeypatch, environment):
    code = "from os import environ\nclass Held:\n    env = environ\nheld = Held()\n"
    code += f"held.own = environ\ndef step(run):\n    run.fields.x = {environment}['LR']\n"
    step = cell(code)["step"]
    before = manifest_of_step("reads one variable", step, buffers).digest
    monkeypatch.setenv("ANOTHER", "1")
    assert manifest_of_step("reads one variable", step, buffers).digest == before


def test_a_client_of_a_library_counts_by_its_type_and_what_is_beside_it_by_value():
    def capturing(session, rate):
        return lambda run: run.fields.update(x=(session, rate))

    sessions = [mltraq.create_session() for _ in range(2)]
    first, same = (manifest_of_step("s", capturing(s, 1), buffers).digest for s in sessions)
    assert first == same != manifest_of_step("s", capturing(sessions[0], 2), buffers).digest


# -- params ----------------------------------------------------------------------------------------


def test_runs_whose_params_lead_to_code_have_fingerprints_of_their_own():
    def executed():
        experiment = mltraq.create_session().add_experiment("e")
        experiment.add_runs(p=[1, [1.5, "a"], np.arange(2), Ridge, Ridge(2.0), Ridge(3.0)])
        experiment.execute(lambda run: None, backend="local")
        return [run.ledger.steps["<lambda>"] for run in experiment.runs.values()]

    plain, data, array, kind, *estimators = executed()
    assert plain == data == array
    assert kind.startswith(f"{plain}-")
    assert set(estimators) == {kind}
    assert executed() == [plain, data, array, kind, *estimators]


# -- sources ---------------------------------------------------------------------------------------


def scaled(value):
    # twice
    return 2 * value


class Scale:
    def __init__(self):
        super().__init__()
        self.factor = 3


def scaling(run):
    run.fields.x = scaled(run.params.N) * Scale().factor


def test_the_sources_of_what_was_executed_are_stored(session):
    session.add_experiment("e").add_runs(N=[1]).execute(scaling, backend="local").persist()
    (text,) = session.query("SELECT sources FROM experiment_steps WHERE step = 'scaling'")[
        "sources"
    ]
    sources = json.loads(text)
    assert set(sources) == {f"test_fingerprints.{n}" for n in ("scaling", "scaled", "Scale")}
    assert sources["test_fingerprints.scaled"] == inspect.getsource(scaled)
    assert sources["test_fingerprints.Scale"] == inspect.getsource(Scale)


def test_a_source_that_was_edited_since_is_not_that_of_the_code(tmp_path):
    path = tmp_path / "study.py"
    path.write_text("def f():\n    return 1\n")
    namespace = {}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    function = namespace["f"]
    assert source_of(function.__code__) == path.read_text()
    path.write_text("# moved\n\ndef f():\n    return 1\n")
    assert source_of(function.__code__) == "def f():\n    return 1\n"
    path.write_text("def f():\n    return 2\n")
    assert source_of(function.__code__) is None


def test_a_module_that_was_edited_since_it_was_imported_is_refused_for_workers(
    tmp_path, monkeypatch
):
    path = tmp_path / "edited_helper.py"
    path.write_text("def prepare():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import edited_helper
    import prefect  # noqa: F401 (libraries of its own replace Python's loader of source files)

    def step(run):
        run.fields.x = edited_helper.prepare()

    (prepared,) = as_steps(step, {}, 0, buffers=buffers)
    path.write_text("# moved\ndef prepare():\n    return 1\n")
    refuse_edited([prepared])
    path.write_text("def prepare():\n    return 22\n")
    experiment = mltraq.create_session().add_experiment("e").add_runs(N=[1])
    with pytest.raises(mltraq.InvalidStep, match=r"edited_helper.prepare was edited.*reload"):
        experiment.execute(step, n_jobs=1)
    assert experiment.runs.first().ledger.state == "pending"
    experiment.execute(step, backend="local")
    assert experiment.runs.first().fields.x == 1
    importlib.reload(edited_helper)
    refuse_edited(as_steps(step, {}, 0, buffers=buffers))
