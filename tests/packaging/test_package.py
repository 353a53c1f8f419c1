"""What is in the package, and that it works where nothing else is."""

import email
import os
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from prefect.settings import PREFECT_API_URL

from tests.packaging.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
(PROGRAM,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

PLAIN = {"NO_COLOR": "1", "COLUMNS": "500"}

TEMPLATES = (
    "flows/coin_toss.py",
    "deployments/prefect.yaml",
    "deployments/automations.py",
    "deployments/serve.py",
)


@pytest.fixture
def no_home(tmp_path):
    """A home that does not exist, and cannot be made."""
    (tmp_path / "file").touch()
    return tmp_path / "file" / "home"


def test_the_source_distribution_has_what_a_packager_needs(sdist):
    names = {path.name for path in sdist.iterdir()}
    assert {"tests", "flows", "docs", "deployments", "benchmarks", "mltraq_prefect"} <= names
    assert {"CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "README.md", "Makefile"} <= names
    assert {"constraints.txt", "pyproject.toml"} <= names
    assert not {".ci", ".git", ".venv", "build", "dist"} & names
    ours = {"__pycache__", ".venv", "test_ci.py"}
    for folder in ("tests", "docs", "flows", "deployments"):
        files = [path for path in (ROOT / folder).rglob("*") if not ours & set(path.parts)]
        kept = [path for path in files if path.suffix in {".py", ".md", ".yaml"}]
        assert [path for path in kept if not (sdist / path.relative_to(ROOT)).exists()] == []


def test_the_wheel_has_the_package_and_what_init_copies(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        for name in TEMPLATES:
            packed = archive.read(f"mltraq_prefect/templates/{name}")
            assert packed == (ROOT / name).read_bytes()
    assert "mltraq_prefect/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"mltraq_prefect"}
    assert [name for name in names if "licenses/LICENSE" in name]


def test_package_indexes_accept_both(archive, wheel):
    check = [sys.executable, "-m", "twine", "check", "--strict", archive, wheel]
    done = subprocess.run(check, capture_output=True, text=True, env=os.environ | PLAIN)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_the_metadata_say_who_may_use_it_and_where_to_ask(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    urls = [url.partition(",")[0] for url in metadata.get_all("Project-URL")]
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} <= set(urls)
    told = [line for line in metadata.get_all("Classifier") if "Python :: 3." in line]
    assert [line.rpartition(".")[2] for line in told] == ["11", "12", "13", "14"]
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])


def test_init_of_the_wheel_makes_flows_that_run(installed, tmp_path, prefect_server):
    done = installed.run("mltraq-prefect", "init", "study", cwd=tmp_path, home=tmp_path)
    assert done.returncode == 0, done.stderr
    study = tmp_path / "study"
    for name in TEMPLATES:
        assert (study / name).read_bytes() == (ROOT / name).read_bytes()
    server = {"PREFECT_API_URL": PREFECT_API_URL.value()}
    done = installed.run("python", "flows/coin_toss.py", cwd=study, home=tmp_path, **server)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(" ")]
    assert [row[0] for row in rows if row[0].isdigit()] == ["1", "25", "50", "100"]


def test_an_execution_needs_no_home(installed, tmp_path, no_home):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = installed.run("python", "program.py", cwd=tmp_path, home=no_home)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    database = ["--database", "sqlite:///tosses.db"]
    done = installed.run("mltraq-prefect", *database, "ls", cwd=tmp_path, home=no_home)
    assert "tosses" in done.stdout
    assert done.stderr == ""


def test_a_home_that_prefect_cannot_write_to_is_one_sentence(installed, tmp_path, no_home):
    runner = "from prefect.task_runners import ThreadPoolTaskRunner\n"
    given = "execute(task_runner=ThreadPoolTaskRunner(), "
    (tmp_path / "program.py").write_text(runner + PROGRAM.replace("execute(", given))
    done = installed.run("python", "program.py", cwd=tmp_path, home=no_home)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"Prefect cannot write to its home, {no_home}/.prefect (Not a directory)" in last
    assert "PREFECT_HOME" in last
    assert "Starting temporary server" not in done.stderr
    assert len(done.stderr.splitlines()) < 30
