"""Without a flow and a server, steps are executed without Prefect, and with the same results."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import sysconfig
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from prefect.settings import PREFECT_API_URL, Settings
from prefect.task_runners import ThreadPoolTaskRunner

import mltraq_prefect as mltraq
from tests.polling import poll
from tests.prefect_api import flow_run, task_runs
from tests.steps import draw, total

ONE_LINE = "no Prefect server is configured: steps are executed without it"


def facts(entry):
    """What the ledger says, but for times and Prefect's ids."""
    steps = {name: (step.state, step.fingerprint, step.attempts, step.error, step.error_type)
             for name, step in entry.executed.items()}  # fmt: skip
    return entry.state, entry.steps, entry.error, entry.error_type, entry.attempts, steps


def results(session, name, **options):
    """Execute two steps, of which the second fails in a run; return all that comes of it."""
    experiment = session.add_experiment(name).add_runs(N=range(6))
    experiment.execute([draw, total], retries=1, on_error="keep", n_jobs=2, **options)
    experiment.persist("merge", on_error="keep")
    found = []
    for run in session.load(name).runs.values():
        fields = {
            key: value.tobytes() if isinstance(value, np.ndarray) else value
            for key, value in run.fields.items()
        }
        found.append((run.params, fields, facts(run.ledger)))
    entries = [run.ledger for run in experiment.runs.values()]
    return found, {(bool(entry.flow_run_id), bool(entry.task_run_id)) for entry in entries}


OPTIONS = [
    {"backend": "processes", "runs_per_task": 2},
    {"checkpoint": True, "max_failures": 2, "timeout_seconds": 60},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_results_and_ledger_are_those_of_task_runs(prefect_server, request, options):
    with mltraq.create_session("sqlite://") as session:
        with_task_runs, ids = results(session, "same", **options)
    assert ids == {(True, True)}
    request.getfixturevalue("without_prefect")
    with mltraq.create_session("sqlite://") as session:
        plain, ids = results(session, "same", **options)
    assert ids == {(False, False)}
    assert plain == with_task_runs
    assert [facts[0] for _, _, facts in plain].count("failed") == 1


ASKING = {
    "backend": {"backend": "prefect"},
    "task runner": {"task_runner": ThreadPoolTaskRunner(max_workers=1)},
}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("options", ASKING.values(), ids=ASKING)
def test_who_asks_for_prefect_gets_task_runs(session, options):
    experiment = session.add_experiment("e").add_runs(N=range(2))
    experiment.execute(draw, **options)
    (found,) = {run.ledger.flow_run_id for run in experiment.runs.values()}
    assert flow_run(found).state.is_completed()
    assert set(task_runs(found, 2)) == {"draw N=0", "draw N=1"}


@pytest.fixture
def experiment(session, without_prefect):
    return session.add_experiment("numbers").add_runs(N=[1, 2, 3, 4])


@pytest.mark.parametrize("backend", ["processes", "threads"])
def test_a_retry_executes_only_what_failed(experiment, tmp_path, caplog, backend):
    def flaky(run):
        with (tmp_path / f"{run.params.N}").open("a") as counter:
            counter.write("x")
        run.fields.tried = (tmp_path / f"{run.params.N}").stat().st_size
        if run.params.N % 2 and run.fields.tried < 2:
            raise RuntimeError("the first time it fails")

    experiment.execute(flaky, runs_per_task=4, retries=2, backend=backend)
    assert [run.fields.tried for run in experiment.runs.values()] == [2, 1, 2, 1]
    assert [run.ledger.attempts for run in experiment.runs.values()] == [2, 1, 2, 1]
    (line,) = (r for r in caplog.records if r.levelno == logging.WARNING)
    assert line.getMessage().startswith("2 runs, such as N=1; N=3: RuntimeError: the first time")
    assert line.getMessage().endswith("; tried again")
    assert line.task_run_name == "flaky 1-4 of 4"


def test_a_run_that_hangs_or_kills_its_worker_fails_alone(experiment):
    def end(run):
        if run.params.N == 2:
            threading.Event().wait()
        if run.params.N == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        run.fields.fine = True

    with pytest.raises(mltraq.RunsFailed, match="2 of 4 runs failed") as caught:
        experiment.execute(end, timeout_seconds=5, runs_per_task=4)
    assert "run N=2\nexceeded timeout_seconds=5" in caught.value.details
    assert "run N=3\nthe worker process was ended by SIGKILL" in caught.value.details
    assert [run.fields.get("fine") for run in experiment.runs.values()] == [True, None, None, True]


def test_what_a_step_logs_and_prints_is_in_the_programs_log(experiment, caplog):
    def speak(run):
        print("printed", run.params.N)
        logging.getLogger("anybody").warning("logged %s", run.params.N)

    with caplog.at_level(logging.INFO):
        experiment.execute(speak)
    spoken = {(r.task_run_name, r.levelno, r.getMessage()) for r in caplog.records
              if hasattr(r, "task_run_name")}  # fmt: skip
    assert spoken == {
        (f"speak N={n}", level, f"{what} {n}")
        for n in (1, 2, 3, 4)
        for level, what in ((logging.INFO, "printed"), (logging.WARNING, "logged"))
    }


@pytest.mark.parametrize(("on_error", "with_frames"), [("keep", 1), ("raise", 0)])
def test_frames_of_errors_are_shown_once(experiment, caplog, on_error, with_frames):
    """In the log if failures are kept; otherwise what is raised at the end has them."""
    with nullcontext() if with_frames else pytest.raises(mltraq.RunsFailed) as raised:
        experiment.execute(lambda run: 1 / 0, n_jobs=1, runs_per_task=1, on_error=on_error)
    errors = [record.getMessage() for record in caplog.records if record.levelno >= 40]
    assert len(errors) == 4
    assert sum("Traceback" in message for message in errors) == with_frames
    short = "division by zero (test_without_prefect.py:"
    assert sum(short in message for message in errors) == 4 - with_frames
    assert with_frames or raised.value.details.count("Traceback") == 1


def test_what_the_program_has_configured_decides_what_is_logged(experiment, caplog):
    with caplog.at_level(logging.WARNING):
        experiment.execute(draw)
    assert caplog.records == []


def test_an_interruption_in_threads_stops_between_runs(experiment, tmp_path):
    def mark(run):
        (tmp_path / f"{run.params.N}").touch()
        if run.params.N == 1:
            os.kill(os.getpid(), signal.SIGINT)
            poll(lambda: False, bool, seconds=1)

    with pytest.raises(KeyboardInterrupt, match="interrupted; 0 of 4 runs completed"):
        experiment.execute(mark, backend="threads", n_jobs=1, runs_per_task=4)
    assert [path.name for path in tmp_path.glob("[1-4]")] == ["1"]


# Programs of their own

PROGRAM = """
import sys
import mltraq_prefect as mltraq

def step(run):
    run.fields.x = run.params.N ** 2

session = mltraq.create_session("sqlite:///study.db")
for name in ("first", "second"):
    experiment = session.add_experiment(name).add_runs(N=range(10))
    experiment.execute(step).persist()
assert [run.fields.x for run in experiment.runs.values()] == [n * n for n in range(10)]
assert {run.ledger.flow_run_id for run in experiment.runs.values()} == {None}
assert set(experiment.links()["task_run"]) == {None}
assert "prefect" not in sys.modules
"""


def unconfigured(home):
    """Return the environment of somebody who has configured nothing."""
    kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("PREFECT", "MLTRAQ"))}
    return kept | {"HOME": str(home), "PYTHONPATH": os.getcwd()}


def run_program(folder, text, environment=None, options=()):
    (folder / "program.py").write_text(text)
    return subprocess.run(
        [sys.executable, *options, "program.py"],
        cwd=folder,
        env=unconfigured(folder) if environment is None else environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


LINE = re.compile(r"\d\d:\d\d:\d\d\.\d\d\d \| (INFO   |WARNING|ERROR  ) \| (.*)")


def test_a_program_that_configures_nothing_is_told_in_one_line_and_imports_nothing(tmp_path):
    done = run_program(tmp_path, PROGRAM)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    first, *others = [LINE.fullmatch(line)[2] for line in done.stderr.splitlines()]
    assert first.startswith(ONE_LINE)
    assert "PREFECT_API_URL" in first
    assert [re.sub(r"[\d.]+ s$", "", line) for line in others] == [
        "experiment 'first': 10 of 10 runs completed in ",
        "experiment 'second': 10 of 10 runs completed in ",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"program.py", "study.db"}


def test_it_works_where_prefect_is_not_installed(tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(("prefect", "__pycache__")) and path.suffix != ".pth":
            (site / path.name).symlink_to(path)
    home = tmp_path / "home"
    home.mkdir()
    path = os.pathsep.join((os.getcwd(), str(site)))
    settings = unconfigured(home) | {"PYTHONPATH": path, "PREFECT_API_URL": "http://localhost:1"}
    done = run_program(home, PROGRAM, settings, options=("-S",))
    assert done.returncode == 0, done.stderr
    assert "Prefect is not installed: steps are executed without it" in done.stderr
    asked = PROGRAM.replace("execute(step)", 'execute(step, backend="prefect")')
    done = run_program(home, asked, settings, options=("-S",))
    assert "UnsupportedVersion: prefect is not installed, and " in done.stderr


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("where", ["variable", "profile"])
def test_a_configured_server_gets_task_runs(tmp_path, where):
    url = PREFECT_API_URL.value()
    settings = unconfigured(tmp_path)
    if where == "variable":
        settings["PREFECT_API_URL"] = url
    else:
        (tmp_path / ".prefect").mkdir()
        profiles = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n'
        (tmp_path / ".prefect" / "profiles.toml").write_text(profiles)
    done = run_program(tmp_path, PROGRAM.partition("assert")[0], settings)
    assert done.returncode == 0, done.stderr
    assert ONE_LINE not in done.stderr
    with mltraq.create_session(f"sqlite:///{tmp_path}/study.db") as session:
        found = session.query("SELECT DISTINCT flow_run_id FROM experiment_runs")["flow_run_id"]
    assert [flow_run(each).state.is_completed() for each in found] == [True, True]


URL = "http://127.0.0.1:4200/api"

CONFIGURED = {
    "nothing": ({}, {}),
    "empty variable": ({"PREFECT_API_URL": ""}, {}),
    "variable": ({"PREFECT_API_URL": URL}, {}),
    "small letters": ({"prefect_api_url": URL}, {}),
    "other variables": ({"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_UI_URL": ""}, {}),
    ".env": ({}, {".env": f"PREFECT_API_URL={URL}"}),
    ".env of others": ({}, {".env": "USER_NAME=x"}),
    "prefect.toml": ({}, {"prefect.toml": f'[api]\nurl = "{URL}"'}),
    "another prefect.toml": ({}, {"prefect.toml": "[tasks]\ndefault_retries = 1"}),
    "pyproject.toml": ({}, {"pyproject.toml": f'[tool.prefect.api]\nurl = "{URL}"'}),
    "another pyproject.toml": ({}, {"pyproject.toml": '[project]\nname = "api"'}),
    "profile": (
        {},
        {"p/profiles.toml": f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{URL}"'},
    ),
    "profile of a variable": (
        {"PREFECT_PROFILE": "a"},
        {"p/profiles.toml": f'active = "b"\n[profiles.a]\nPREFECT_API_URL = "{URL}"'},
    ),
    "another profile": (
        {},
        {"p/profiles.toml": 'active = "b"\n[profiles.b]\nPREFECT_LOGGING_LEVEL = "INFO"'},
    ),
    "path of profiles": (
        {"PREFECT_PROFILES_PATH": "mine.toml"},
        {"mine.toml": f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{URL}"'},
    ),
    "path of profiles in a file": (
        {},
        {
            "prefect.toml": 'profiles_path = "mine.toml"',
            "mine.toml": f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{URL}"',
        },
    ),
}
"""Variables and files; Prefect itself knows whether they name a server."""

ASKED = """
import json, os, sys
from mltraq_prefect.orchestration.configured import may_name_server

for folder, variables in json.load(sys.stdin):
    os.chdir(folder)
    os.environ.update(variables)
    print(may_name_server())
    for name in variables:
        del os.environ[name]
assert "prefect" not in sys.modules
"""


def test_no_way_to_name_a_server_is_overlooked_and_none_is_seen_in_other_settings(
    tmp_path, monkeypatch
):
    asked, expected = [], []
    for name in list(os.environ):
        if name.upper().startswith("PREFECT"):
            monkeypatch.delenv(name)
    for number, (variables, files) in enumerate(CONFIGURED.values()):
        folder = tmp_path / str(number)
        (folder / "p").mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
        variables = {"PREFECT_HOME": str(folder / "p")} | variables
        asked.append((str(folder), variables))
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            for name, value in variables.items():
                patch.setenv(name, value)
            expected.append(bool(Settings().api.url))
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        input=json.dumps(asked),
        env=unconfigured(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    found = [line == "True" for line in done.stdout.splitlines()]
    assert dict(zip(CONFIGURED, found, strict=True)) == dict(zip(CONFIGURED, expected, strict=True))
    assert sum(expected) >= 7


FAILING = """
import mltraq_prefect as mltraq

def helper(n):
    return 1 / (n % 100)

def train(run):
    run.fields.x = helper(run.params.N)

experiment = mltraq.create_session("sqlite:///study.db").add_experiment("sweep")
experiment.add_runs(N=range(1_000)).execute(train)
"""


def test_a_failing_sweep_shows_the_users_frames_and_fits_on_a_screen(tmp_path):
    done = run_program(tmp_path, FAILING)
    assert done.returncode == 1
    log, _, shown = done.stderr.partition("ZeroDivisionError: division by zero\n\nThe above")
    assert all(LINE.match(line) for line in log.splitlines())
    assert len(log.splitlines()) < 50
    frames = re.findall(r'File "(.*?)", line \d+, in (\S+)', shown)
    program = [(Path(file).name, function) for file, function in frames]
    assert program == [
        ("program.py", "<module>"),
        ("experiment.py", "execute"),
        ("program.py", "train"),
        ("program.py", "helper"),
    ]
    assert "RunsFailed: experiment 'sweep': 10 of 1000 runs failed: 10 x ZeroDivision" in shown
