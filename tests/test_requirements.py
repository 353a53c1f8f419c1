"""What is installed beside the package: what it declares, refuses, and can do without."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mltraq_prefect as mltraq
from mltraq_prefect import requirements
from mltraq_prefect.reports.comparison.compare import SCIPY
from mltraq_prefect.storage.sql.dialects import DIALECTS
from mltraq_prefect.ui.serve import STARLETTE, UVICORN

ROOT = Path(__file__).parent.parent
PACKAGE = Path(mltraq.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = {
    "IPython",
    "dask",
    "distributed",
    "prefect_dask",
    "prefect_ray",
    "pytz",
    "ray",
    "sklearn",
}
"""Imported only where they are there: in notebooks, in clusters, beside pandas 2, in reports."""


def declared():
    extras = PROJECT["optional-dependencies"]
    optional = [extras[name] for name in ("postgresql", "mysql", "stats", "excel", "ui")]
    found = [Requirement(text) for each in (PROJECT["dependencies"], *optional) for text in each]
    return {canonicalize_name(one.name): one for one in found}


def imported():
    """Return the top-level modules, not Python's own, that the package imports anywhere."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"mltraq_prefect"}


def test_what_is_imported_is_declared():
    of_module = importlib.metadata.packages_distributions()
    needed = {canonicalize_name(of_module[name][0]) for name in imported() - OPTIONAL}
    assert needed <= set(declared())


def test_what_is_checked_is_what_is_declared():
    drivers = {dialect.driver: dialect.driver_versions for dialect in DIALECTS.values()}
    of_drivers = {driver: versions for driver, versions in drivers.items() if versions}
    assert of_drivers.keys() == {"psycopg", "pymysql"}
    optional = {"scipy": SCIPY, "starlette": STARLETTE, "uvicorn": UVICORN}
    for library, supported in (requirements.SUPPORTED | of_drivers | optional).items():
        assert declared()[library].specifier == Requirement(f"x{supported}").specifier, library


def test_each_python_that_is_declared_has_a_classifier():
    (least,) = re.findall(r"^>=3\.(\d+)$", PROJECT["requires-python"])
    named = re.findall(r"Python :: 3\.(\d+)", " ".join(PROJECT["classifiers"]))
    assert list(map(int, named)) == list(range(int(least), int(named[-1]) + 1))


@pytest.mark.parametrize(
    ("version", "specifier"),
    [("3.9.1", ">=3.4,<4"), ("3.4", ">=3.4.0"), ("2.1.0", ">=1.26,!=2.0.*"), ("26.0.1", ">=15")],
)
def test_a_version_in_a_range(version, specifier):
    assert requirements.matches(version, specifier)


@pytest.mark.parametrize(
    ("version", "specifier"),
    [("3.3.7", ">=3.4,<4"), ("4.0.0rc1", ">=3.4,<4"), ("2.0.2", ">=1.26,!=2.0.*"), ("9", ">=15")],
)
def test_a_version_outside_a_range(version, specifier):
    assert not requirements.matches(version, specifier)


def pretending(versions, code):
    """Run a program that finds other versions in the metadata of what is installed."""
    lines = (
        "import importlib.metadata as metadata",
        f"versions, true = {versions!r}, metadata.version",
        "metadata.version = lambda name: versions.get(name) or true(name)",
        "import mltraq_prefect as mltraq",
        code,
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    return done.stderr.strip().splitlines()


@pytest.mark.parametrize(
    ("library", "version", "supported"),
    [
        ("numpy", "2.0.2", ">=1.26,!=2.0.*"),
        ("pandas", "2.1.4", ">=2.2"),
        ("pyarrow", "14.0.2", ">=15"),
        ("sqlalchemy", "2.0.20", ">=2.0.40"),
    ],
)
def test_a_session_refuses_a_version_in_a_sentence(library, version, supported):
    assert pretending({library: version}, "mltraq.create_session('sqlite://')")[-1] == (
        f"mltraq_prefect.errors.UnsupportedVersion: {library} {version} is installed, and "
        f'{library}{supported} is supported; run: python -m pip install "{library}{supported}"'
    )


def test_a_pyarrow_is_refused_beside_a_numpy_with_which_it_cannot_be_imported():
    opening = "mltraq.create_session('sqlite://')"
    refused = pretending({"numpy": "1.26.4", "pyarrow": "26.0.1"}, opening)
    assert refused[-1].endswith(
        "pyarrow 26.0.1 is installed, and beside numpy 1.26.4 pyarrow>=15,<26 is supported; "
        'run: python -m pip install "pyarrow>=15,<26"'
    )
    assert pretending({"numpy": "1.26.4", "pyarrow": "25.0.1"}, opening) == []


def test_a_driver_is_refused_when_its_database_is_opened():
    opening = "mltraq.create_session({!r})"
    url = "mysql+pymysql://127.0.0.1:1/nothing"
    refused = pretending({"pymysql": "1.0.3"}, opening.format(url))
    assert "pymysql 1.0.3 is installed, and pymysql>=1.1 is supported" in refused[-1]
    assert pretending({"pymysql": "1.0.3"}, opening.format("sqlite://")) == []


EXECUTE = """
session = mltraq.create_session("sqlite://")
experiment = session.add_experiment("e")
experiment.add_runs(x=[1])
experiment.execute(steps=print, backend={backend!r})
"""


def test_prefect_is_refused_when_it_is_used():
    refused = pretending({"prefect": "3.3.7"}, EXECUTE.format(backend="prefect"))
    assert "prefect 3.3.7 is installed, and prefect>=3.4,<4 is supported" in refused[-1]
    assert pretending({"prefect": "3.3.7"}, EXECUTE.format(backend="local")) == []


def test_a_server_that_would_not_work_is_told_of():
    store = 'mltraq.ExperimentStore(url="sqlite://")'
    told = pretending({"prefect": "3.8.4", "sqlalchemy": "2.1.9", "fastapi": "0.155.0"}, store)
    text = " ".join(" ".join(told).split())
    assert "A server of Prefect 3.8.4 schedules no flow runs of deployments with sqlalchemy" in text
    assert 'python -m pip install "sqlalchemy<2.1"' in text
    assert 'python -m pip install "fastapi<0.151"' in text
    assert (
        pretending({"prefect": "3.9.1", "sqlalchemy": "2.1.9", "fastapi": "0.150.0"}, store) == []
    )


@pytest.mark.parametrize(("prefect", "fastapi"), [("3.6.29", "0.150.0"), ("3.7.4", "0.160.0")])
def test_a_temporary_server_that_would_not_answer_is_refused(prefect, fastapi):
    versions = {"prefect": prefect, "fastapi": fastapi}
    found = pretending(versions, EXECUTE.format(backend="prefect"))
    assert found[-1].endswith('supported; run: python -m pip install "fastapi<0.137"')


WITHOUT_PREFECT = """
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("prefect", "prefect_dask", "prefect_ray"):
            raise ModuleNotFoundError(f"there is no {name}", name=name)
sys.meta_path.insert(0, Refuse())
import mltraq_prefect as mltraq
from mltraq_prefect.cli import main
def square(run):
    run.fields.square = run.params.x ** 2
def fail(run):
    raise ValueError(run.params.x)
with mltraq.create_session("sqlite:///e.db") as session:
    experiment = session.add_experiment("e")
    experiment.add_runs(x=[1, 2, 3])
    experiment.execute(steps=square, backend="local", checkpoint=True)
    experiment.persist(if_exists="merge")
    print(sorted(run.fields.square for run in session.load("e").runs.values()))
    experiment.execute(steps=square, rerun=True)  # in worker processes
    experiment.execute(steps=fail, backend="local", on_error="keep")
    assert "in fail" in experiment.runs.first().ledger.error
assert main(["--database", "sqlite:///e.db", "query", "SELECT square FROM e_e"]) == 0
assert main(["--database", "sqlite:///e.db", "ls"]) == 0
"""


def test_without_prefect_there_are_storage_local_execution_and_the_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PREFECT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "[1, 4, 9]"
