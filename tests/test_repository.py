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
