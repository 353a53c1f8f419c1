"""What the pages for contributors name is there: layers, files, words of their code, links."""

import re
import tomllib

import pytest

from tests.contributing.recipes import ROOT, sections

PACKAGE = ROOT / "mltraq_prefect"
FOLDER = ROOT / "docs/contributing"
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(FOLDER.rglob("*.md"))]
DECISIONS = sorted(FOLDER.glob("decisions/*.md"))
TABLES = [FOLDER / "architecture.md", FOLDER / "glossary.md"]

FILE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|yaml|db)\b|(?:[\w.-]+/)+(?=[\s`])")
"""A file, or a folder with its slash."""


def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def exists(name):
    return any((folder / name).exists() for folder in (ROOT, PACKAGE))


def source(name):
    return next(path for path in (PACKAGE / name, ROOT / name) if path.exists()).read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [*TABLES, *DECISIONS], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = re.sub(r"\]\([^)]*\)", "]", page.read_text())
    assert [name for name in FILE.findall(text) if not exists(name)] == []


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_words_of_code_are_in_the_file_beside_them(page):
    rows = [row for row in page.read_text().splitlines() if row.startswith("| ") and ".py`" in row]
    assert rows
    for row in rows:
        found = re.findall(r"`([^`]+)`", row)
        texts = [source(name) for name in found if name.endswith(".py")]
        for word in found:
            if word.isidentifier():
                assert any(re.search(rf"\b{word}\b", text) for text in texts), (word, row)


def test_the_layers_are_those_of_the_import_contract():
    (block,) = re.findall(r"```layers\n(.*?)```", TABLES[0].read_text(), re.DOTALL)
    told = [line.split("  ")[0] for line in block.splitlines()]
    (contract,) = [
        contract
        for contract in settings()["tool"]["importlinter"]["contracts"]
        if contract["name"] == "imports only downwards"
    ]
    assert told == [layer.replace("mltraq_prefect.", "") for layer in contract["layers"]]


def test_every_decision_and_recipe_is_listed():
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "decisions/README.md").read_text()))
    assert listed == {page.name for page in DECISIONS} - {"README.md"}
    assert len(sections()) >= 4


def test_commands_of_make_that_the_pages_name_exist():
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^)make ([\w-]+)", page.read_text(), re.MULTILINE))
        assert named <= rules, page
