"""The command line: what it prints, what it refuses, and how it ends."""

import subprocess
import sys
from pathlib import Path

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.cli import main

ROOT = Path(__file__).parent.parent


@pytest.fixture
def stored(url):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("one").add_runs(n=[1, 2, 3], name=["7"])
        for run in experiment.runs.values():
            run.fields |= {"n": run.params.n, "name": run.params.name, "day": "2026-01-01"}
        experiment.persist()
    return url


def test_ls_and_query(stored, capsys):
    assert main(["--database", stored, "ls"]) == 0
    assert "one" in capsys.readouterr().out
    assert main(["--database", stored, "query", "SELECT n FROM e_one ORDER BY n"]) == 0
    assert capsys.readouterr().out.split() == ["n", "1", "2", "3"]
    assert main(["query", "SELECT n FROM e_one WHERE n > 5", "--database", stored]) == 0
    assert capsys.readouterr().out == "no rows\n"


def test_the_database_of_the_environment(stored, capsys, monkeypatch):
    monkeypatch.setenv("MLTRAQ_DATABASE_URL", stored)
    assert main(["ls"]) == 0
    assert "one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("where", "params", "found"),
    [
        ("n = :n", ["n=2"], ["2"]),
        ("n > :least AND n < :most", ["least=1", "most=2.5"], ["2"]),
        ("day = :day AND n = 1", ["day=2026-01-01"], ["1"]),
        ("name = :name AND n = 1", ['name="7"'], ["1"]),
        ("day <> :text AND n = 1", ["text=a=b"], ["1"]),
        ("n IN :chosen ORDER BY n", ["chosen=[1, 3]"], ["1", "3"]),
    ],
)
def test_params_of_a_statement(stored, capsys, where, params, found):
    options = [word for param in params for word in ("--param", param)]
    assert (
        main(["--database", stored, "query", f"SELECT n FROM e_one WHERE {where}", *options]) == 0
    )
    assert capsys.readouterr().out.split() == ["n", *found]


def test_a_param_without_a_value_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["query", "SELECT 1", "--param", "n"])
    assert ended.value.code == 2
    assert "'n' is not of the form NAME=VALUE" in capsys.readouterr().err


def test_errors_are_one_line(stored, capsys):
    assert main(["--database", stored, "query", "SELEC 1"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_a_database_the_ways_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["ls"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--database sqlite:///mltraq.db" in line
    assert "MLTRAQ_DATABASE_URL" in line
    monkeypatch.setenv("MLTRAQ_DATABSE_URL", "sqlite:///mltraq.db")
    assert main(["ls"]) == 1
    assert "do you mean MLTRAQ_DATABASE_URL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mltraq-prefect {mltraq.__version__}\n"


def test_python_runs_the_package_as_the_command_line():
    command = [sys.executable, "-m", "mltraq_prefect", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"mltraq-prefect {mltraq.__version__}\n"


@pytest.mark.parametrize("command", [["ls"], ["query", "SELECT 1"]])
def test_in_a_wrong_folder_nothing_is_created(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--database", "sqlite:///mltraq.db", *command]) == 1
    message = "there is no database sqlite:///mltraq.db: the file does not exist"
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_init_copies_a_flow_and_its_deployment(tmp_path, capsys):
    folder = tmp_path / "new" / "study"
    assert main(["init", str(folder)]) == 0
    out = capsys.readouterr().out
    made = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert [str(path.relative_to(folder)) for path in made] == [
        "deployments/prefect.yaml",
        "deployments/serve.py",
        "flows/coin_toss.py",
    ]
    for path in made:
        assert str(path) in out
        assert path.read_bytes() == (ROOT / path.relative_to(folder)).read_bytes()


def test_init_overwrites_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "prefect.yaml").write_text("mine")
    assert main(["init"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing was copied" in line
    assert "deployments/prefect.yaml; name another folder" in line
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["prefect.yaml"]
    assert (tmp_path / "deployments" / "prefect.yaml").read_text() == "mine"


def test_init_into_what_is_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["init", str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is no folder that can be written to" in line
