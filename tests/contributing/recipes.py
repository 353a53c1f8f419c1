"""Recipes of `docs/contributing/recipes.md`, followed in a copy of the repository.

A block of code below a line that ends with the name of a file and a colon is for that file: a
``diff`` changes it, any other block makes it, or goes to its end. Blocks of ``sh`` are commands.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/contributing/recipes.md"
COPIED = ("mltraq_prefect", "tests", "docs", "flows", "deployments", "benchmarks")
COPIED_FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")

_BLOCK = re.compile(r"^(?P<lead>.*)\n\n```(?P<kind>\w+)\n(?P<text>(?:.*\n)*?)(?=```$)", re.M)
_FILE = re.compile(r"`([\w./-]+)`:$")


class Block(NamedTuple):
    """A block of code of a recipe.

    Attributes:
        kind: Of code: ``diff``, ``python``, ``sh``.
        lead: The line above it.
        text: What is in it.
    """

    kind: str
    lead: str
    text: str

    @property
    def file(self) -> str:
        """The file that it is for."""
        (name,) = _FILE.findall(self.lead) or (None,)
        assert name is not None, f"no file is named above this block: {self.lead!r}"
        return name


def sections() -> dict[str, list[Block]]:
    """Return the blocks of each recipe by its title; without recipes that have none."""
    _, *parts = re.split(r"^## (.*)$", PAGE.read_text(), flags=re.M)
    found = dict(zip(parts[::2], map(blocks, parts[1::2]), strict=True))
    return {title: own for title, own in found.items() if own}


def blocks(text: str) -> list[Block]:
    """Return the blocks of code in a part of a page."""
    return [Block(m["kind"], m["lead"], m["text"]) for m in _BLOCK.finditer(text)]


class Copy:
    """A copy of the repository, in which recipes are followed.

    Args:
        folder: Where to make it.
        environment: More variables for its commands.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.touched: set[str] = set()
        # The copy is other code than what coverage measures.
        own = {name: text for name, text in os.environ.items() if not name.startswith("COVERAGE_")}
        self._environment = {**own, **environment, "PYTHONPATH": str(folder)}
        unwanted = shutil.ignore_patterns("*.pyc.*")  # what is being written
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        for name in COPIED_FILES:
            shutil.copy(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.kind == "sh":
            self.run("sh", "-e", "-c", block.text)
            return
        self.touched.add(block.file)
        path = self.folder / block.file
        before = path.read_text() if path.exists() else ""
        assert path.exists() == ("A new file" not in block.lead), block.lead
        if block.kind == "diff":
            path.write_text(changed(before, block))
        else:
            assert "A new file" in block.lead or "At the end of" in block.lead, block.lead
            path.write_text(f"{before}\n\n{block.text}" if before else block.text)

    def run(self, *command: str) -> None:
        """Run a command; fail with what it prints if it does."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"


def changed(text: str, block: Block) -> str:
    """Return a text as a block changes it; what the block finds there must be there once."""
    lines = block.text.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
    new = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
    assert f"\n{text}".count(f"\n{old}") == 1, f"{block.file} has not once:\n{old}"
    return f"\n{text}".replace(f"\n{old}", f"\n{new}")[1:]
