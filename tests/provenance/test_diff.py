"""What differs between runs, executions and experiments."""

import dataclasses
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mltraq_prefect as mltraq

BEFORE = """
import numpy as np
RATE = 0.1
def scaled(x):
    # a comment
    return x * RATE
def train(run):
    run.fields.loss = float(np.sum(scaled(run.params.x)))
def evaluate(run):
    run.fields.score = 1 - run.fields.loss
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Writes the module `study_of_diffs` and imports it, as another process would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it is edited within a second

    def write(text):
        (tmp_path / "study_of_diffs.py").write_text(text)
        sys.modules.pop("study_of_diffs", None)
        importlib.invalidate_caches()
        return importlib.import_module("study_of_diffs")

    yield write
    sys.modules.pop("study_of_diffs", None)


@pytest.fixture
def session(tmp_path):
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as opened:
        yield opened


def execute(session, name, steps, kwargs, x=(1, 2), **options):
    experiment = session.add_experiment(name).add_runs(x=x)
    return experiment.execute(steps, kwargs, backend="local", **options).persist()


def test_code_kwargs_and_params_of_two_runs(session, program, monkeypatch):
    module = program(BEFORE)
    execute(session, "before", module.train, {"rate": 1, "table": np.arange(3), "n": 1})
    module = program(BEFORE.replace("RATE = 0.1", "RATE = 0.2").replace("* RATE", "* RATE + 1"))
    execute(session, "after", module.train, {"rate": 2, "table": np.arange(4), "n": 1}, seed=3)
    sys.modules.pop("study_of_diffs")  # what is compared is what was stored
    a, b = session.load("before").runs.first(), list(session.load("after").runs.values())[1]
    found = mltraq.diff(a, b)
    assert found
    assert found.params == {"x": (1, 2)}
    assert list(found.kwargs) == ["rate", "table"]
    assert found.kwargs["rate"] == (1, 2)
    assert list(found.code) == ["study_of_diffs.scaled"]
    text = found.code["study_of_diffs.scaled"]
    assert "-    return x * RATE\n+    return x * RATE + 1" in text
    assert found.code_values == ["value of RATE in module study_of_diffs (0.1 -> 0.2)"]
    assert found.environment == {"seed": (0, 3)}
    assert found.versions == found.steps == {}
    assert "rate: 1 -> 2" in repr(found)
    assert text.splitlines()[-1] in repr(found)
    assert "x * RATE + 1" in found._repr_html_()
    assert set(found.df()["part"]) == {"params", "kwargs", "code", "environment"}


def test_code_that_is_in_another_module_now_is_told_in_a_line(session, program, tmp_path):
    execute(session, "a", program(BEFORE).train, {})
    (tmp_path / "moved_study_of_diffs.py").write_text(BEFORE.replace("0.1", "0.2"))
    module = importlib.import_module("moved_study_of_diffs")
    execute(session, "b", module.train, {})
    found = mltraq.diff(session.load("a"), session.load("b"))
    assert found.code == {}
    assert found.code_values[0] == (
        "the same code in module moved_study_of_diffs, which was in study_of_diffs"
    )
    assert any("value of RATE in module moved" in text for text in found.code_values)
    session.load("a").rename("b again")
    again = session.add_experiment("b again").add_runs(x=[1, 2])
    with pytest.raises(mltraq.InvalidInput, match=r"'train': the same code in module moved.*RATE"):
        again.execute(module.train, {}, checkpoint=True, backend="local")


def test_comments_are_no_difference_and_versions_are_one(session, tmp_path):
    for version in ("1.0", "2.0"):
        installed = tmp_path / version / "site-packages"
        (installed / f"tinylib-{version}.dist-info").mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n"
        (installed / f"tinylib-{version}.dist-info" / "METADATA").write_text(metadata)
        (installed / "tinylib.py").write_text("FACTOR = 2\n")
        script = tmp_path / "study.py"
        script.write_text(
            "import mltraq_prefect as mltraq, tinylib\n"
            f"def train(run):\n    # for {version}\n    run.fields.y = tinylib.FACTOR\n"
            f"session = mltraq.create_session('sqlite:///{tmp_path}/x.db')\n"
            f"session.add_experiment('{version}').add_runs(x=[1])"
            ".execute(train, backend='local').persist()\n"
        )
        environment = os.environ | {"PYTHONPATH": f"{installed}:{Path.cwd()}"}
        subprocess.run([sys.executable, str(script)], env=environment, check=True)
    found = mltraq.diff(session.load("1.0"), session.load("2.0"))
    assert found.versions == {"tinylib": ("1.0", "2.0")}
    assert (found.code, found.code_values, found.environment) == ({}, [], {})
    same = mltraq.diff(session.load("1.0"), session.load("1.0"))
    assert not same
    assert "nothing differs" in repr(same)
    assert "nothing differs" in same._repr_html_()


def test_executions_slots_and_steps(session, program):
    module = program(BEFORE)
    experiment = execute(session, "study", module.train, {"n": 1}, x=(1, 2))
    later = session.add_experiment("study").add_runs(x=[3, 4])
    later.execute([module.train, module.evaluate], {"n": 2}, backend="local").persist("merge")
    loaded = session.load("study")
    first, second = (loaded.execution(key[:9]) for key in loaded.executions.index)
    found = mltraq.diff(first, second)
    assert (found.kwargs, found.steps) == ({"n": (1, 2)}, {"evaluate": (False, True)})
    early, late = (session.load("study", where=where) for where in ("x < 3", "x >= 3"))
    found = mltraq.diff(early, late)
    assert found.kwargs == {"n": (1, 2)}
    assert mltraq.diff(early.runs, list(late.runs.values())).kwargs == {"n": (1, 2)}
    assert mltraq.diff(experiment, later).kwargs == {"n": (1, 2)}


@pytest.mark.parametrize("wrong", [None, "study", 3, [], {}, [1]])
def test_other_things_are_refused(session, program, wrong):
    run = execute(session, "study", program(BEFORE).train, {}).runs.first()
    with pytest.raises(mltraq.InvalidInput, match="diff compares runs"):
        mltraq.diff(run, wrong)


def test_the_source_is_that_of_the_execution(session, program):
    module = program(BEFORE)
    execute(session, "study", module.train, {})
    module = program(BEFORE.replace("* RATE", "* RATE + 1"))
    later = session.add_experiment("study").add_runs(x=[3])
    later.execute(module.train, backend="local").persist("merge")
    program("")
    loaded = session.load("study")
    first, *_, last = loaded.runs.values()
    assert loaded.source("train").startswith("# study_of_diffs.train\ndef train(run):\n")
    assert "RATE + 1" in loaded.source("train")
    assert "RATE + 1" in loaded.source("train", run=last)
    assert "# study_of_diffs.scaled\n" in loaded.source("train", run=first)
    assert "RATE + 1" not in loaded.source("train", run=first.id_run)
    with pytest.raises(mltraq.InvalidInput, match=r"'score' was not executed; .* were: train"):
        loaded.source("score")
    with pytest.raises(mltraq.InvalidInput, match="has no execution"):
        loaded.execution("zzz")


WITH_CLASS = """
import dataclasses
@dataclasses.dataclass
class Net:
    '''A net.'''
    width: int = 4
    rates = (0.1, 0.2)
    @property
    def size(self):
        return self.width * len(self.rates)
def fit(run):
    run.fields.size = Net().size
"""


def test_the_source_of_a_class_has_its_body(session, program, tmp_path):
    module = program(WITH_CLASS)
    execute(session, "first", module.fit, {})
    body = WITH_CLASS.partition("def fit")[0].partition("import dataclasses\n")[2]
    assert session.load("first").source("fit").count(body) == 1
    module = program(WITH_CLASS.replace("width: int = 4", "width: int = 5"))
    (tmp_path / "study_of_diffs.py").write_text(WITH_CLASS)  # which is not what is executed
    execute(session, "second", module.fit, {})
    source = session.load("second").source("fit")
    assert "class Net" not in source
    assert "def size(self)" in source
    difference = mltraq.diff(session.load("first"), session.load("second"))
    assert "-    width: int = 4" in str(difference.code)


def test_runs_that_were_never_executed_have_params_alone(session):
    experiment = session.add_experiment("new").add_runs(x=[1, 2])
    a, b = experiment.runs.values()
    found = mltraq.diff(a, b)
    assert found.params == {"x": (1, 2)}
    assert not dataclasses.replace(found, params={})
