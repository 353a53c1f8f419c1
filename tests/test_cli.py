"""The command line: what it prints, what it refuses, and how it ends."""

import contextlib
import csv
import datetime as dt
import errno
import io
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
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
        "deployments/automations.py",
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
    assert "is not a folder that can be written to" in line


def test_programs_get_json_and_csv(stored, capsys):
    sql = "SELECT n, name, 1e999 AS x, NULL AS y, x'00ff' AS b, 'a\nb' AS t FROM e_one WHERE n < 3"
    assert main(["--database", stored, "query", sql, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[1] == {"n": 2, "name": "7", "x": "inf", "y": None, "b": "00ff", "t": "a\nb"}
    assert main(["--database", stored, "query", sql, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == {"n": "2", "name": "7", "x": "inf", "y": "", "b": "00ff", "t": "a\nb"}
    assert main(["--database", stored, "query", "SELECT 1 WHERE 1 = 0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(SystemExit) as ended:
        main(["ls", "--json", "--csv"])
    assert ended.value.code == 2


def in_terminal(command, environment):
    """Return what a program prints to a terminal of 140 columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, **environment, "COLUMNS": "140", "TERM": "xterm"}
    done = subprocess.Popen(
        [sys.executable, "-m", "mltraq_prefect", *command],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the program has ended
            break
        text += part
        if text.endswith(b"[y/N]: "):
            os.write(ours, b"n\n")
    os.close(ours)
    return done.wait(), text.decode()


def test_a_terminal_gets_a_table_and_is_asked_before_anything_is_destroyed(stored):
    hostile = "\x1b]0;owned\x07[red]"
    with mltraq.create_session(stored) as session:
        session.add_experiment(hostile).persist()
    status, text = in_terminal(["ls"], {"MLTRAQ_DATABASE_URL": stored})
    assert status == 0
    assert "───" in text
    assert "\\x1b]0;owned\\x07[red]" in text
    assert "\x1b]0" not in text
    status, text = in_terminal(["delete", "one"], {"MLTRAQ_DATABASE_URL": stored})
    assert status == 1
    assert "Delete experiment 'one' with its 3 runs? [y/N]: " in text
    assert "nothing was done" in text
    assert main(["--database", stored, "ls"]) == 0


def test_a_terminal_has_numbers_ids_and_times_in_short(url, capsys, monkeypatch):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("one").add_runs(x=[0.1 + 0.2])
        run = experiment.runs.first()
        run.fields |= {"at": dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC), "large": 123456789.125}
        experiment.persist()
    assert "0.30000000000000004" in out_of(capsys, "--database", url, "frame", "one")
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = out_of(capsys, "--database", url, "frame", "one")
    assert {run.id_run[:8], "0.3", "03:04:05", "123456789.125"} <= set(shown.split())
    listed = out_of(capsys, "--database", url, "ls")
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d +", listed)
    assert not re.search(r":\d\d\.\d", listed)


def test_without_a_terminal_nothing_is_deleted_unless_it_is_said(stored, capsys):
    assert main(["--database", stored, "delete", "one"]) == 1
    assert "give --yes to do it" in capsys.readouterr().err
    assert main(["--database", stored, "delete", "none", "--yes"]) == 1
    assert "there is no experiment 'none'" in capsys.readouterr().err
    for given in (["delete", "ine", "--yes"], ["show", "ine"], ["verify", "ine"],
                  ["export", "ine", "x.csv"], ["copy", "sqlite:///x.db", "ine"]):  # fmt: skip
        assert main(["--database", stored, *given]) == 1
        assert "no experiment 'ine' in the database; did you mean 'one'?" in capsys.readouterr().err
    assert main(["--database", stored, "delete", "one", "--yes"]) == 0
    assert capsys.readouterr().out == "deleted experiment 'one' with its 3 runs\n"
    assert main(["--database", stored, "ls"]) == 0
    assert capsys.readouterr().out == "no rows\n"


def test_experiments_are_copied_to_another_database(stored, tmp_path, capsys):
    other = f"sqlite:///{tmp_path}/other.db"
    with mltraq.create_session(stored) as session:
        session.add_experiment("two").add_runs(x=[1]).persist()
    assert main(["--database", stored, "copy", other, "two", "three"]) == 1
    assert "no experiment 'three'" in capsys.readouterr().err
    assert not (tmp_path / "other.db").exists()
    assert main(["--database", stored, "copy", other, "two"]) == 0
    assert main(["--database", stored, "copy", other]) == 1
    assert "has 'two' already; nothing was copied" in capsys.readouterr().err
    assert main(["--database", stored, "copy", other, "--if-exists", "merge"]) == 0
    with mltraq.create_session(stored) as session, mltraq.create_session(other) as copied:
        left, right = session.ls(), copied.ls()
        assert left[["name", "id_experiment", "runs"]].equals(
            right[["name", "id_experiment", "runs"]]
        )
        assert session.load("one").runs.df().equals(copied.load("one").runs.df())


def test_help_and_ls_start_fast_and_need_no_prefect(stored):
    code = (
        "import sys\nsys.modules['prefect'] = None\nfrom mltraq_prefect.cli import main\n"
        "main(sys.argv[1:])\n"
        "print([m for m in ('prefect', 'pandas', 'pyarrow') if sys.modules.get(m)])"
    )
    for arguments in (["--help"], ["--database", stored, "ls"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.endswith("[]\n"), arguments
        assert "ls" in done.stdout or "one" in done.stdout


def doctor(capsys, *options):
    status = main(["doctor", "--json", *options])
    return status, {row.pop("what"): row for row in json.loads(capsys.readouterr().out)}


def test_the_doctor_says_what_is_in_use_and_changes_nothing(stored, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    status, found = doctor(capsys)
    assert (status, found["database"]["state"]) == (0, "note")
    assert found["key of pickles"]["found"] == "none"
    status, found = doctor(capsys, "--database", f"sqlite:///{tmp_path}/none.db")
    assert (status, found["file"]["found"]) == (0, "missing")
    assert not {"none.db", "config"} & {path.name for path in tmp_path.iterdir()}
    status, found = doctor(capsys, "--database", stored)
    assert (status, found["experiments"]["found"]) == (0, "1")
    assert (found["writing"]["found"], found["numpy"]["state"]) == ("yes", "ok")


def test_the_doctor_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    key = tmp_path / "mltraq" / "pickle.key"
    key.parent.mkdir()
    key.write_text("x")
    key.chmod(0o600)
    (tmp_path / "broken.db").write_text("no database at all, and long enough to be one" * 100)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MLTRAQ_DATABSE_URL", "sqlite://")
    status, found = doctor(capsys)
    assert status == 1
    assert "do you mean MLTRAQ_DATABASE_URL" in found["environment"]["what to do"]
    assert "damaged; delete it" in found["key of pickles"]["what to do"]
    monkeypatch.delenv("MLTRAQ_DATABSE_URL")
    status, found = doctor(capsys, "--database", f"sqlite:///{tmp_path}/broken.db")
    assert status == 1
    assert "not a database" in found["database"]["what to do"]
    shutil.copy(ROOT / "tests" / "assets" / "format-1.db", tmp_path / "old.db")
    _, found = doctor(capsys, "--database", f"sqlite:///{tmp_path}/old.db")
    assert found["format"]["found"] == "1"
    assert "when it is opened" in found["format"]["what to do"]
    _, again = doctor(capsys, "--database", f"sqlite:///{tmp_path}/old.db")
    assert again["format"] == found["format"]


def out_of(capsys, *arguments):
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def error_of(capsys, *arguments):
    assert main([*arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_experiment_and_a_run_are_shown(stored, capsys):
    with mltraq.create_session(stored) as session:
        experiment = session.load("one")
        run = experiment.runs.first()
        run.fields.grid = np.zeros((3, 4))
        experiment.tags["team"] = "vision"
        experiment.persist("merge")
    rows = json.loads(out_of(capsys, "--database", stored, "show", "one", "--json"))
    told = {(row["what"], row["name"]): row["value"] for row in rows}
    assert told["experiment", "runs"] == 3
    assert told["tag", "team"] == "vision"
    assert told["param", "n"] == "int, column param_n"
    sql = "SELECT grid FROM e_one WHERE grid IS NOT NULL"
    out = out_of(capsys, "--database", stored, "query", sql, "--decode", "--json")
    assert json.loads(out) == [{"grid": [[0.0] * 4] * 3}]
    rows = json.loads(out_of(capsys, "--database", stored, "show", "one", run.id_run[:9], "--json"))
    told = {(row["what"], row["name"]): row["value"] for row in rows}
    assert told["run", "id_run"] == run.id_run
    assert told["field", "grid"] == "ndarray 3 x 4 float64"
    assert "has no run whose id" in error_of(capsys, "--database", stored, "show", "one", "zz")
    assert "several runs" in error_of(capsys, "--database", stored, "show", "one", "")
    assert "no experiment 'two'" in error_of(capsys, "--database", stored, "show", "two")
    assert "no experiment 'two'" in error_of(capsys, "--database", stored, "show", "two", "a")


def test_experiments_are_exported_and_imported(stored, tmp_path, capsys):
    path = str(tmp_path / "one.csv")
    out_of(capsys, "--database", stored, "export", "one", path, "--column", "n")
    with open(path) as file:
        assert [row["n"] for row in csv.DictReader(file)] == ["1", "2", "3"]
    assert "exists" in error_of(capsys, "--database", stored, "export", "one", path)
    out_of(capsys, "--database", stored, "export", "one", path, "--overwrite")
    out_of(capsys, "--database", stored, "export", "--all", str(tmp_path / "all"))
    assert (tmp_path / "all" / "e_one.parquet").exists()
    with pytest.raises(SystemExit):
        main(["--database", stored, "export", "one"])
    with pytest.raises(SystemExit):
        main(["--database", stored, "export", "--all", str(tmp_path / "other"), "--series"])
    foreign = tmp_path / "optuna.db"
    with contextlib.closing(sqlite3.connect(foreign)) as database:
        dump = next((ROOT / "tests" / "exchange" / "assets").glob("optuna*.sql"))
        database.executescript(dump.read_text())
    new = f"sqlite:///{tmp_path}/new.db"
    found = out_of(capsys, "--database", new, "import", "optuna", str(foreign), "--csv")
    assert found.startswith("experiment,found,before,now\n")
    curves = str(tmp_path / "curves.csv")
    out_of(capsys, "--database", new, "export", "tune", curves, "--series")
    with open(curves) as file:
        assert "intermediate_value" in next(csv.reader(file))
    assert "nothing imports from 'excel'" in error_of(
        capsys, "--database", new, "import", "excel", str(foreign)
    )


def test_a_log_gets_lines_of_progress(stored, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mltraq_prefect.cli.progress.SECONDS", 0)
    assert main(["--database", stored, "export", "one", str(tmp_path / "one.csv")]) == 0
    assert capsys.readouterr().err == "export: 3 of 3\n"
    foreign = tmp_path / "optuna.db"
    with contextlib.closing(sqlite3.connect(foreign)) as database:
        dump = next((ROOT / "tests" / "exchange" / "assets").glob("optuna*.sql"))
        database.executescript(dump.read_text())
    new = f"sqlite:///{tmp_path}/new.db"
    assert main(["--database", stored, "copy", new]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "copy runs: 3 of 3"
    assert main(["--database", new, "import", "optuna", str(foreign)]) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "import from optuna:" in line] == [
        "import from optuna: 6 of 9",
        "import from optuna: 8 of 9",
    ]


def test_groups_are_compared(stored, capsys):
    with mltraq.create_session(stored) as session:
        experiment = session.add_experiment("two").add_runs(model=["a", "b"], seed=range(5))
        for run in experiment.runs.values():
            run.fields.y = run.params.seed * (1 + (run.params.model == "b") / 9)
        experiment.persist()
    options = ("compare", "y", "-e", "two", "--by", "model", "--pair-on", "seed", "--json")
    (row,) = json.loads(out_of(capsys, "--database", stored, *options))
    assert (row["group"], row["baseline"], row["n"]) == ("b", "a", 5)
    assert "'z'" in error_of(capsys, "--database", stored, "compare", "y", "-e", "two", "--by", "z")
    with mltraq.create_session(stored) as session:
        session.load("two").add_runs(model=["a", "b"], seed=[5]).persist("merge")
    refused = error_of(capsys, "--database", stored, *options)
    assert "no 'y' that is finite in 2 of 12 rows" in refused
    assert "(--nan-policy omit)" in refused
    (row,) = json.loads(out_of(capsys, "--database", stored, *options, "--nan-policy", "omit"))
    assert row["n"] == 5
    assert "nan_policy is 'x'" in error_of(
        capsys, "--database", stored, *options, "--nan-policy", "x"
    )


def test_experiments_are_renamed_and_tagged(stored, capsys):
    out_of(capsys, "--database", stored, "rename", "one", "1 b")
    out_of(capsys, "--database", stored, "tag", "1 b", "team=vision", "x=y=z", "--note", "é")
    rows = json.loads(out_of(capsys, "--database", stored, "tag", "1 b", "--remove", "x", "--json"))
    assert rows == [{"tag": "team", "text": "vision"}, {"tag": "note", "text": "é"}]
    out = out_of(
        capsys, "--database", stored, "ls", "--tag", "team=vision", "--where", "runs > :n",
        "--param", "n=2", "--json",
    )  # fmt: skip
    assert [row["name"] for row in json.loads(out)] == ["1 b"]
    assert "no column 'x'" in error_of(capsys, "--database", stored, "ls", "--where", "x > 1")
    assert "no experiment 'one'" in error_of(capsys, "--database", stored, "rename", "one", "x")


def test_runs_are_deleted_and_pruned(stored, capsys):
    options = ("--database", stored, "delete", "one", "--where", "n > :n", "--param", "n=2")
    assert "delete 1 run of experiment 'one'; give --yes" in error_of(capsys, *options)
    assert "no column 'm'; known: 'id_run'" in error_of(capsys, *options[:-3], "m > 3", "--yes")
    assert out_of(capsys, *options, "--yes") == "deleted 1 run of experiment 'one'\n"
    assert out_of(capsys, *options) == "deleted 0 runs of experiment 'one'\n"
    options = ("--database", stored, "prune", "one", "--slots", "1", "--slot", "n")
    assert "delete 1 old run" in error_of(capsys, *options)
    assert out_of(capsys, *options, "--yes") == "deleted 1 run of experiment 'one'\n"
    assert out_of(capsys, *options) == "deleted 0 runs of experiment 'one'\n"
    assert "prune needs keep" in error_of(capsys, "--database", stored, "prune", "one", "--yes")
    with mltraq.create_session(stored) as session:
        assert [run.params.n for run in session.load("one").runs.values()] == [2]


def test_what_is_stored_is_verified(stored, capsys):
    assert out_of(capsys, "--database", stored, "verify") == "nothing is wrong\n"
    with contextlib.closing(sqlite3.connect(stored.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE experiments SET run_count = 9")
        database.commit()
    assert main(["--database", stored, "verify", "one", "--json"]) == 1
    (row,) = json.loads(capsys.readouterr().out)
    assert "counts 9 runs" in row["problem"]
    out_of(capsys, "--database", stored, "verify", "--repair")
    assert out_of(capsys, "--database", stored, "verify") == "nothing is wrong\n"
    assert "no experiment 'x'" in error_of(capsys, "--database", stored, "verify", "x")


def test_a_shell_completes_names_of_experiments(stored):
    words = {"COMP_WORDS": "mltraq-prefect show o", "COMP_CWORD": "2"}
    environment = {**os.environ, **words, "_MLTRAQ_PREFECT_COMPLETE": "complete_bash"}
    environment["MLTRAQ_DATABASE_URL"] = stored
    command = [sys.executable, "-m", "mltraq_prefect"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["one"]


def test_times_and_what_is_missing_are_printed(url, capsys):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("one").add_runs(n=[1, 2])
        experiment.runs.first().fields |= {"at": dt.time(1, 2), "day": dt.date(2026, 1, 2), "k": 1}
        experiment.persist()
    options = ("frame", "one", "--column", "at", "--column", "day", "--column", "k")
    told = json.loads(out_of(capsys, "--database", url, *options, "--json"))
    assert told[0] == {"at": "01:02:00", "day": "2026-01-02", "k": 1}
    assert told[1] == {"at": None, "day": None, "k": None}
    assert "<NA>" not in out_of(capsys, "--database", url, *options)
    assert "no experiment 'no'" in error_of(capsys, "--database", url, "rename", "no", "no")


def test_runs_are_printed_as_a_frame(stored, capsys):
    options = ("--database", stored, "frame", "one")
    out = out_of(
        capsys, *options, "--where", "n > :n", "--param", "n=1", "--order-by=-n",
        "--column", "n", "--column", "day", "--json",
    )  # fmt: skip
    assert json.loads(out) == [{"n": 3, "day": "2026-01-01"}, {"n": 2, "day": "2026-01-01"}]
    assert len(json.loads(out_of(capsys, *options, "--limit", "1", "--json"))) == 1
    assert "no column 'm'" in error_of(capsys, *options, "--where", "m > 1")
    assert "no column 'm'" in error_of(capsys, *options, "--column", "m")
    assert "no experiment 'x'" in error_of(capsys, "--database", stored, "frame", "x")


def _rated(run):
    run.fields.y = run.params.x * run.kwargs.rate


def test_executions_are_shown_and_compared(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/x.db"
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("a/b").add_runs(x=[1, 2])
        for rate in (1, 2):
            experiment.execute(_rated, {"rate": rate}, backend="local", rerun=True)
        first, second = experiment.persist().executions.index
        code = experiment.execution(second).code()
        run, other = experiment.runs
    shown = out_of(capsys, "--database", url, "show", "a/b")
    assert all(part in shown for part in (first, second, code, "_rated"))
    assert code in out_of(capsys, "--database", url, "show", "a/b", run)
    told = out_of(capsys, "--database", url, "diff", f"a/b/{first[:13]}", f"a/b/{second}")
    assert "kwargs:\n  rate: 1 -> 2" in told
    rows = json.loads(
        out_of(capsys, "--database", url, "diff", f"a/b/{run}", f"a/b/{other}", "--json")
    )
    assert rows == [{"part": "params", "name": "x", "a": 1, "b": 2}]
    assert "nothing differs" in out_of(capsys, "--database", url, "diff", "a/b", "a/b")
    asked = ("--database", url, "diff", "a/b")
    assert "no run or execution whose id begins" in error_of(capsys, *asked, "a/b/zz")
    assert "4 runs and executions whose id" in error_of(capsys, *asked, "a/b/")
    assert "no experiment 'c'" in error_of(capsys, *asked, "c")
    assert "no experiment 'c'" in error_of(capsys, *asked, "c/1")


def test_files_are_listed_and_fetched(url, tmp_path, monkeypatch, capsys):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("kept")
        with experiment.run(n=1) as run:
            run.files["model.bin"] = b"x" * 1_000
            run.files["plots/loss.svg"] = b"<svg/>"
        experiment.persist()
        id_run = run.id_run
    base = ("--database", url, "files", "kept", id_run[:8])
    assert json.loads(out_of(capsys, *base, "--json")) == [
        {"file": "model.bin", "bytes": 1_000, "sha256": run.files["model.bin"].sha256},
        {"file": "plots/loss.svg", "bytes": 6, "sha256": run.files["plots/loss.svg"].sha256},
    ]
    assert "model.bin" in out_of(capsys, "--database", url, "show", "kept", id_run)
    monkeypatch.chdir(tmp_path)
    out_of(capsys, *base, "plots/loss.svg")
    assert (tmp_path / "loss.svg").read_bytes() == b"<svg/>"
    out_of(capsys, *base, "model.bin", "--output", "best.bin")
    assert (tmp_path / "best.bin").read_bytes() == b"x" * 1_000
    assert "is there already" in error_of(capsys, *base, "model.bin", "-o", "best.bin")
    assert "has no file 'none'" in error_of(capsys, *base, "none")

    def half(source, target):
        target.write(source.read(10))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("shutil.copyfileobj", half)
        said = error_of(capsys, *base, "model.bin", "-o", "half.bin")
    assert "half.bin cannot be written: No space left" in said
    assert not (tmp_path / "half.bin").exists()
    assert out_of(capsys, "--database", url, "prune").startswith("removed ")


class Stdout(io.StringIO):
    """What a program writes to, which breaks off."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left"), 1, "the output cannot be written: No space left"),
        (KeyboardInterrupt(), 130, "interrupted; what was written before stays"),
    ],
)
def test_output_that_breaks_off_is_told(stored, capsys, monkeypatch, error, status, said):
    monkeypatch.setattr("sys.stdout", Stdout(error))
    assert main(["--database", stored, "ls", "--json"]) == status
    assert capsys.readouterr().err.strip() == said


@pytest.mark.parametrize(
    "command",
    [
        *(["rename", "x", "y"], ["tag", "x", "a=b"], ["delete", "x", "--yes"]),
        *(["delete", "x", "--where", "n > 1"], ["prune", "x", "--slots", "1"]),
        *(["verify"], ["verify", "--repair"], ["prune"]),
    ],
)
def test_where_no_experiment_is_no_tables_are_made(tmp_path, capsys, command):
    path = tmp_path / "empty.db"
    path.touch()
    is_named = "x" in command
    assert main(["--database", f"sqlite:///{path}", *command]) == int(is_named)
    assert ("there is no experiment 'x'" in capsys.readouterr().err) == is_named
    assert path.stat().st_size == 0


def test_a_table_of_others_that_has_our_name_is_a_trouble(tmp_path, capsys):
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE experiments (a)")
    assert main(["--database", f"sqlite:///{tmp_path}/a.db", "doctor", "--json"]) == 1
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert "that is not from mltraq_prefect" in rows["database"]["what to do"]
