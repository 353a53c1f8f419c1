"""README's program runs as it is written, and its promises about names hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mltraq_prefect.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.usefixtures("prefect_server")
def test_the_program_in_the_readme(tmp_path, monkeypatch, capsys):
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(program)
    exec(compile(program, str(tmp_path / "program.py"), "exec"), {"__name__": "__main__"})
    assert "error" in capsys.readouterr().out

    (command,) = re.findall(r'query "(SELECT n, error FROM e_tosses ORDER BY n)"', README)
    assert main(["--database", "sqlite:///tosses.db", "query", command]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [int(row.split()[0]) for row in rows] == [1, 25, 50, 100]


def test_the_tables_in_the_readme_are_those_of_a_database(session):
    session.add_experiment("one").persist()
    named = set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))
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


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert targets <= rules


def test_every_command_of_the_command_line_is_in_the_documentation():
    done = subprocess.run(
        [sys.executable, "-m", "mltraq_prefect", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    (commands,) = re.findall(r"\{([\w,]+)\}", done.stdout.splitlines()[0] + done.stdout)[:1]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for command in commands.split(","):
        assert f"mltraq-prefect {command}" in README + changelog
