"""Pickles are signed, and nothing unsigned is unpickled."""

import ast
import os
import pickle
import pickletools
import stat
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

import mltraq_prefect
from mltraq_prefect.errors import ExperimentNotFound, InvalidInput, StoreError, UntrustedPickle
from mltraq_prefect.storage.pickles import seal, unseal, user_key
from mltraq_prefect.storage.values.kinds import texts

KEY = b"k" * 32
MINE = ("coin toss", "5c3f")
SIGNED = 8 + 32
"""Where the pickle begins, after magic and signature."""


def draw(run):
    run.fields.drawn = run.params.N


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("MLTRAQ_PICKLE_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "mltraq" / "pickle.key"


class Exploit:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_comes_back():
    assert unseal(seal({"x": [1]}, KEY, MINE), KEY, MINE) == {"x": [1]}
    assert unseal(seal(lambda: 5, KEY, MINE), KEY, MINE)() == 5


@pytest.mark.parametrize("module", ["mltraq_prefect.run", "mltraq_prefect.model.run"])
@pytest.mark.parametrize("name", ["LedgerEntry", "Namespace", "Run", "Runs", "StepEntry"])
def test_classes_are_found_that_earlier_versions_had_in_other_modules(monkeypatch, module, name):
    with monkeypatch.context() as earlier:
        was = types.ModuleType(module)
        setattr(was, name, type(name, (), {"__module__": module}))
        earlier.setitem(sys.modules, module, was)
        sealed = seal(getattr(was, name), KEY, MINE)
    assert unseal(sealed, KEY, MINE) is getattr(mltraq_prefect, name)


def test_a_class_of_storage_is_found_that_was_in_another_module(monkeypatch):
    module = "mltraq_prefect.storage.tagging"
    with monkeypatch.context() as earlier:
        was = types.ModuleType(module)
        was.Annotations = type("Annotations", (), {"__module__": module})
        earlier.setitem(sys.modules, module, was)
        sealed = seal(was.Annotations, KEY, MINE)
    assert unseal(sealed, KEY, MINE) is mltraq_prefect.storage.Annotations


def test_modules_that_move_are_in_no_pickle_or_are_known_to_have_moved(session, home):
    experiment = session.add_experiment("e", tags={"of": "me"}).add_runs(N=[1])
    experiment.execute(draw, backend="local").persist()
    session.load("e").execute(draw, backend="local", rerun=True).persist("merge", store_pickle=True)
    stored = bytes(session.query("SELECT * FROM experiment_pickles").pickle[0])
    told = {str(text) for _, text, _ in pickletools.genops(stored[SIGNED:])}
    assert {text for text in told if text.startswith("mltraq_prefect.")} == {
        "mltraq_prefect.model.ledger_entry",
        "mltraq_prefect.model.namespace",
        "mltraq_prefect.model.run",
        "mltraq_prefect.provenance.facts",
        "mltraq_prefect.storage.records",
        "mltraq_prefect.storage.tables.tagging",
        "mltraq_prefect.storage.values.columns",
    }


def test_texts_whose_marks_were_digests_in_earlier_versions_are_not_written_over(
    session, home, monkeypatch
):
    experiment = session.add_experiment("e").add_runs(N=[1])
    experiment.runs.first().fields.text = 100 * "x"
    experiment.persist()
    with monkeypatch.context() as earlier:
        earlier.setattr(texts, "_LONG_TEXT", 64)
        session.load("e").persist("merge", store_pickle=True)
    other = session.load("e")
    other.runs.first().fields.text = 100 * "y"
    other.persist("merge")
    sealed = session.load("e", pickle=True)
    (seen,) = sealed._state.seen.values()
    assert type(seen.marks[0]) is bytes
    sealed.execute(draw, backend="local").persist("merge")
    assert session.load("e").runs.first().fields == {"text": 100 * "y", "drawn": 1}


@pytest.mark.parametrize(
    "case", ["unsigned", "other key", "other experiment", "other id", "changed"]
)
def test_untrusted_bytes_are_not_unpickled(tmp_path, case):
    left = tmp_path / "left"
    sealed = seal(Exploit(left), KEY, MINE)
    key, experiment = KEY, MINE
    if case == "unsigned":
        sealed = pickle.dumps(Exploit(left))
    elif case == "other key":
        key = b"o" * 32
    elif case == "other experiment":
        experiment = ("coin tos", "s5c3f")
    elif case == "other id":
        experiment = ("coin toss", "0000")
    else:
        sealed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    with pytest.raises(UntrustedPickle):
        unseal(sealed, key, experiment)
    assert not left.exists()


@pytest.mark.parametrize("size", range(0, 40, 7))
def test_cut_bytes(size):
    with pytest.raises(UntrustedPickle):
        unseal(seal(1, KEY, MINE)[:size], KEY, MINE)


def test_the_key_is_made_once_and_private(home):
    key = user_key()
    assert len(key) == 64
    assert user_key() == key
    assert stat.S_IMODE(os.stat(home).st_mode) == 0o600
    assert list(home.parent.iterdir()) == [home]


def test_processes_that_start_together_share_a_key(home):
    code = "from mltraq_prefect.storage.pickles import user_key; print(user_key().decode())"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in processes}) == 1


def test_a_key_that_others_can_read_is_refused(home):
    user_key()
    home.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        user_key()


def test_the_variable_counts(home, monkeypatch):
    monkeypatch.setenv("MLTRAQ_PICKLE_KEY", "a secret of sixteen")
    assert user_key() == b"a secret of sixteen"
    assert not home.exists()
    monkeypatch.setenv("MLTRAQ_PICKLE_KEY", "short")
    with pytest.raises(InvalidInput, match="shorter than 16"):
        user_key()


def test_one_module_of_the_package_unpickles():
    """It serves stored pickles once they are verified, and what workers and parent exchange."""
    loaders = ("pickle.loads", "pickle.load", "pickle.Unpickler", "cloudpickle.loads")
    unpickling, users = [], set()
    package = Path(mltraq_prefect.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used = f"{node.value.id}.{node.attr}"
                if used in loaders:
                    unpickling.append((path.name, used))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "unpickled":
                users.add(path.relative_to(package).as_posix())
    assert {name for name, _ in unpickling} == {"pickling.py"}
    exchanged = ("batch", "captured_state", "content_kinds", "frozen_values", "lazy_context")
    remote = ("batch_here", "remote", "remote_files")
    between = ("pool/child", "pool/worker_handle", *(f"fanout/{name}" for name in remote))
    workers = {f"execution/{name}.py" for name in (*exchanged, "object_contents", *between)}
    assert users == {"storage/pickles.py", "orchestration/broadcast.py"} | workers


def test_storage_imports_neither_pandas_nor_prefect():
    code = (
        "import sys, mltraq_prefect.storage, mltraq_prefect.codecs\n"
        "print([name for name in ('pandas', 'pyarrow', 'prefect') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("part", ["locals", "kwargs"])
def test_what_cannot_be_pickled_is_named(home, part):
    with mltraq_prefect.create_session("sqlite://") as session:
        experiment = session.add_experiment("locks")
        experiment.add_run(n=1)
        getattr(experiment.add_run(n=2), part)["lock"] = threading.Lock()
        with pytest.raises(InvalidInput, match=rf"'locks', run n=2: {part}.lock \(of type lock\)"):
            experiment.persist(store_pickle=True)
        assert session.ls().empty


def test_an_absent_pickle_is_not_found(home):
    with mltraq_prefect.create_session("sqlite://") as session:
        session.add_experiment("plain").persist()
        with pytest.raises(ExperimentNotFound, match="has no pickle; persist it with store_pickle"):
            session.load("plain", pickle=True)
