"""What the files around the package say of each other."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def test_hooks_before_a_commit_check_what_make_checks():
    lines = (ROOT / ".pre-commit-config.yaml").read_text().splitlines()
    hooks = [line.partition("entry: ")[2] for line in lines if "entry: " in line]
    rules = re.findall(r"^(?:lint|types|contracts): .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    commands = [line.removeprefix("\t@") for rule in rules for line in rule.splitlines()]
    assert [line.replace("$(BIN)", ".venv/bin") for line in commands] == hooks
    assert len(hooks) == 4


def test_help_of_make_tells_of_each_target_that_a_person_uses():
    (phony,) = re.findall(r"^\.PHONY: (.*)", MAKEFILE, re.MULTILINE)
    told = set(re.findall(r"@echo \"make ([\w-]+) ", MAKEFILE))
    parts_of_check = {"lint", "types", "contracts"}
    assert set(phony.split()) - {"help", "clean"} - parts_of_check == told


def test_versions_of_tests_are_fixed():
    """Every tool of the tests has a version, so that each machine checks the same."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = settings["project"]["optional-dependencies"]["test"]
    names = {re.split(r"[\[>=<]", tool)[0] for tool in tools} - {"mltraq_prefect"}
    fixed = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split()}
    assert {re.sub("[-_.]+", "-", name).lower() for name in names} <= {
        re.sub("[-_.]+", "-", name).lower() for name in fixed
    }


def test_the_matrix_has_what_the_metadata_declare():
    """An environment for each Python, and for each minor version of Prefect."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    noxfile = (ROOT / "noxfile.py").read_text()
    pythons = set(re.findall(r"Python :: (3\.\d+)", " ".join(project["classifiers"])))
    assert set(re.findall(r'"(3\.\d+)"', noxfile)) == pythons
    first, last = re.findall(r"Prefect 3\.(\d+) to 3\.(\d+)", (ROOT / "README.md").read_text())[0]
    minors = range(int(first), int(last) + 1)
    assert [f'"prefect-3.{minor}": ' in noxfile for minor in minors] == [True] * len(minors)


def test_the_table_of_what_was_run_has_each_environment_of_the_matrix():
    noxfile = (ROOT / "noxfile.py").read_text()
    (libraries,) = re.findall(r"^LIBRARIES = {\n(.*?)^}", noxfile, re.MULTILINE | re.DOTALL)
    (pythons,) = re.findall(r"^@nox.session\(python=\[(.*)\]", noxfile, re.MULTILINE)
    run = (ROOT / "docs" / "compatibility.md").read_text().partition("## What was run")[2]
    rows = re.findall(r"^\| ([\w.-]+) \| 3\.", run, re.MULTILINE)
    assert rows == re.findall(r'"([\w.-]+)":', libraries) + re.findall(r'"([\d.]+)"', pythons)
