"""README's program runs as it is written, and its promises about names hold."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from mltraq_prefect.cli import main
from tests import cli_page

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
URL = PROJECT["urls"]["Source"]
FILES = f"{URL}/blob/main/"


@pytest.mark.usefixtures("prefect_server")
def test_the_program_in_the_readme(tmp_path, monkeypatch, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(program)
    exec(compile(program, str(tmp_path / "program.py"), "exec"), {"__name__": "__main__"})
    assert "error" in capsys.readouterr().out

    written = re.findall(r"^mltraq-prefect (.*?)(?: +#.*)?$", README, re.MULTILINE)
    init, pages, query = (shlex.split(command) for command in written)
    assert main(init) == 0
    assert main([*pages, "--help"]) == 0
    capsys.readouterr()
    assert main(query) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [int(row.split()[0]) for row in rows] == [1, 25, 50, 100]


def test_the_tables_in_the_readme_are_those_of_a_database(session):
    session.add_experiment("one").persist()
    section = README.partition("## What is in the tables")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert named
    found = session.query("SELECT name FROM sqlite_master WHERE type = 'table'")["name"]
    assert {name for name in found if not name.startswith(("e_", "sqlite_"))} >= named


def test_the_documentation_has_every_table_and_column_of_a_database(session):
    session.add_experiment("one").persist()
    mapping = (ROOT / "docs" / "mapping.md").read_text()
    table_rows = dict(re.findall(r"^\| `(\w+)` \| (.*)", mapping, re.MULTILINE))
    columns = session.query(
        "SELECT t.name AS t, c.name AS c FROM sqlite_master AS t, pragma_table_info(t.name) AS c"
        " WHERE t.type = 'table' AND t.name LIKE 'experiment%'"
    )
    tables = set(columns["t"])
    assert tables <= set(table_rows)
    told = ("experiments", "experiment_runs", "experiment_run_steps", "experiment_values")
    ids = ("id_experiment", "id_run")
    for row in columns.itertuples():
        if row.t in told and row.c not in ids:
            assert f"`{row.c}`" in table_rows[row.t], (row.t, row.c)


def test_links_of_the_readme_work_on_a_package_index():
    """They are absolute, also those of pictures, and lead to files of the repository."""
    inline = re.findall(r"\]\(([^)]+)\)", README)
    defined = dict(re.findall(r"^\[([^\]]+)\]: (.+)$", README, re.MULTILINE))
    used = re.findall(
        r"\[([^\]]+)\](?![(:\[])", re.sub(r"```.*?```|`.*?`", "", README, flags=re.DOTALL)
    )
    assert {name for name in used if "/" in name or name.endswith(".md")} == set(defined)
    tags = re.findall(r"(?:src|href)=[\"']([^\"']+)", README)
    links = [*inline, *defined.values(), *tags]
    assert [link for link in links if not link.startswith("https://")] == []
    own = [re.split(r"[#?]", link.removeprefix(FILES))[0] for link in links if link.startswith(URL)]
    assert len(own) > 5
    assert [path for path in own if not (ROOT / path).exists()] == []


def test_links_of_the_documentation_stay_in_the_checkout():
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"]
    assert len(pages) > 5
    for page in pages:
        assert URL not in page.read_text(), page
        links = re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == [], page
        text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
        assert re.findall(r"\[[\w/]+\.\w+\](?![(:\[])", text) == [], f"{page}: leads nowhere"


def test_the_first_page_leads_to_all_others():
    docs = ROOT / "docs"
    links = re.findall(r"\]\(([\w/]+\.md)", (docs / "index.md").read_text())
    assert {path.name for path in docs.glob("*.md")} - {"index.md"} - set(links) == set()


def test_extras_are_in_the_documentation():
    page = (ROOT / "docs" / "install.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \| ", page, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert set(PROJECT["optional-dependencies"]) <= told


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert targets <= rules


def test_the_page_of_the_command_line_is_what_the_help_says():
    assert cli_page.PAGE.read_text() == cli_page.page(), "run python -m tests.cli_page"
