"""No secret of the environment, the command line, git or a URL gets into the database."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.provenance.secrets import Secrets
from tests import servers

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
import sys
import mltraq_prefect as mltraq
from mltraq_prefect.provenance import git

git.SECONDS = 60  # a busy machine takes longer than an execution waits

PASSWORD = "CANARY-global"

def train(run):
    connect = dict(password="CANARY-literal")
    run.fields.y = run.params.x

if __name__ == "__main__":
    with mltraq.create_session(sys.argv[1]) as session:
        kwargs = {
            "rate": 0.5,
            "api_key": "CANARY-kwarg",
            "settings": {"db_password": "CANARY-nested", "n": 1},
            "url": "https://ada:CANARY-url@example.org/x",
            "from_env": "see " + __import__("os").environ["SERVICE_TOKEN"],
        }
        experiment = session.add_experiment("study").add_runs(x=[1, 2])
        experiment.execute(train, kwargs, backend="local", checkpoint=True)
        experiment.persist("merge")
"""

ARGUMENTS = (
    *("--password", "CANARY-a", "--api-key=CANARY-b", "TOKEN=CANARY-c", "--lr", "0.1"),
    *("--user", "ada:CANARY-d", "postgresql://ada:CANARY-e@host/db?sslpassword=CANARY-f"),
    *("CANARY-env-value", '{"secret": "CANARY-g", "n": 1}', "Authorization: Bearer CANARY-h1"),
    *("ghp_CANARY0123456789abcdef", "--name", "digits"),
)
ENVIRONMENT = {
    "SERVICE_TOKEN": "CANARY-env-value",
    "OTHER_DATABASE_URL": "mysql://ada:CANARY-env-url@host/db",
    "UNRELATED": "CANARY-unrelated",
}


def git(folder, *arguments):
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    command = ["git", *identity, *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository with a program, and changes that hold secrets."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "topic")
    (folder / "study.py").write_text(SCRIPT)
    (folder / ".env").write_text("LEVEL=info\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    git(folder, "remote", "add", "origin", "https://oauth:CANARY-remote@example.org/study.git")
    changed = "LEVEL=debug\nDB_PASSWORD=CANARY-file\nurl: redis://:CANARY-redis@host\n"
    (folder / ".env").write_text(changed)
    (folder / "study.py").write_text(SCRIPT + '\napi_token = "CANARY-changed"\nrate = 0.5\n')
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of a database, and a function that returns all bytes that it holds."""
    if request.param == "sqlite":
        path = tmp_path / "x.db"
        yield (
            f"sqlite:///{path}",
            lambda: b"".join(file.read_bytes() for file in tmp_path.glob("x.db*")),
        )
        return
    with servers.postgresql_database() as url:

        def dumped():
            with mltraq.create_session(url) as session:
                tables = session.query(
                    "SELECT table_name FROM information_schema.tables "
                    "WHERE table_schema = current_schema()"
                )["table_name"]
                rows = [session.query(f"SELECT * FROM {name}").to_dict() for name in tables]
            return repr(rows).encode()

        yield url.replace("postgres@", "postgres:CANARY-db@", 1), dumped


def test_no_canary_is_in_the_database(repository, database):
    url, dumped = database
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "study.py", url, *ARGUMENTS]
    subprocess.run(command, cwd=repository, env=environment, check=True)
    held = dumped()
    assert b"git_commit" in held or b"def train" in held
    assert b"CANARY" not in held
    with mltraq.create_session(url) as session:
        experiment = session.load("study")
        (execution,) = map(experiment.execution, experiment.executions.index)
    assert execution.git_commit == git(repository, "rev-parse", "HEAD")
    assert (execution.git_branch, execution.git_dirty, execution.script) == (
        *("topic", True, "study.py"),
    )
    assert execution.git_remote == "https://oauth:***@example.org/study.git"
    assert "+LEVEL=debug\n+DB_PASSWORD=***\n+url: redis://:***@host" in execution.git_diff
    assert '+api_token = "***"\n+rate = 0.5' in execution.git_diff
    told = shlex.split(execution.command)
    assert told[0] == "study.py"
    assert told[2:-1] == [
        *("--password", "***", "--api-key=***", "TOKEN=***", "--lr", "0.1"),
        *("--user", "ada:***", "postgresql://ada:***@host/db?sslpassword=***"),
        *("***", '{"secret": "***", "n": 1}', "Authorization: Bearer ***"),
        *("***", "--name"),
    ]
    assert execution.kwargs["rate"] == 0.5
    assert "CANARY" not in f"{execution!r}{execution.git_diff}{execution.kwargs}"
    left_out = ("api_key", "settings", "url", "from_env")
    assert all("left out" in execution.kwargs[key] for key in left_out)
    assert 'password="***"' in experiment.source("train")


@pytest.mark.parametrize(
    "text",
    [
        "python train.py --lr 0.1 --max-tokens 100 --key-size 5 --tokenizer bert --pass-through",
        "https://example.org/a?b=1",
        "ssh://git@example.org/a.git",
        "git@example.org:ada/study.git",
        "s3://bucket/path",
    ],
)
def test_what_is_no_secret_stays(text):
    hidden = Secrets({"HOME": "/home/ada", "USE_AUTH": "enabled", "MAX_TOKENS": "100000"})
    assert hidden.arguments(shlex.split(text)) == shlex.join(shlex.split(text))
    assert hidden.text(text) == text


def test_folders_of_the_shell_are_no_secrets():
    hidden = Secrets({"PWD": "/home/ada/study", "OLDPWD": "/home/ada/old", "MYSQL_PWD": "CANARY"})
    assert hidden.text("/home/ada/study/train.py") == "/home/ada/study/train.py"
    assert not hidden.is_in({"data": "/home/ada/old/train.csv"})
    assert hidden.is_in({"data": "CANARY"})


@pytest.mark.parametrize(
    "line",
    [
        "tokens = tokenizer(text, return_tensors='pt')",
        'tokenizer.pad_token = "<pad>"',
        "token: str = next(tokens)",
        "author = 'Ada'",
        "authors = ('Ada', 'Bob')",
        "key = jax.random.key(0)",
        "passed = check('all')",
        "x = encode('abc', 'utf-8')",
        "password = os.environ.get('DB_LOGIN')",
        "class Token:\n    'What a tokenizer makes.'",
    ],
)
def test_code_that_has_no_secret_stays(line):
    assert Secrets({}).code(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("password = 'abc'", "password = '***'"),
        ('os.environ["API_KEY"] = "abc"', 'os.environ["API_KEY"] = "***"'),
        ('connect(user="ada", passwd="abc")', 'connect(user="ada", passwd="***")'),
        ('get(url, auth=("ada", "abc"))', 'get(url, auth=("ada", "***"))'),
        ("HTTPBasicAuth('ada', 'abc')", "HTTPBasicAuth('***', '***')"),
        (r'"password = \"abc\"\n",', r'"password = \"***\"\n",'),
        (r'"os.environ[\"API_KEY\"] = \"abc\"",', r'"os.environ[\"API_KEY\"] = \"***\"",'),
        ('{"client_secret": "abc", "n": 1}', '{"client_secret": "***", "n": 1}'),
        ('token: str = "abc"', 'token: str = "***"'),
        ('password = (\n    "abc"\n)', 'password = (\n    "***"\n)'),
        ('password = ("abc")', 'password = ("***")'),
        ('password = SecretStr("abc")', 'password = SecretStr("***")'),
        ('api_key = decoded(str("abc"), 1)', 'api_key = decoded(str("***"), 1)'),
        ('token = os.environ.get("MY_NAME", "abc")', 'token = os.environ.get("MY_NAME", "***")'),
        ('"postgresql://ada:abc@host"', '"postgresql://ada:***@host"'),
        ("key = 'AKIAABCDEFGHIJKLMNOP'", "key = '***'"),
    ],
)
def test_literals_that_are_secrets_are_hidden(line, shown):
    assert Secrets({}).code(line) == shown


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ('+password = (\n+    "CANARY"\n+)', '+password = (\n+    "***"\n+)'),
        (' password = (\n-    "CANARY"\n+    "CANARY"', ' password = (\n-    "***"\n+    "***"'),
        ('+token = \\\n+    "CANARY"', '+token = \\\n+    "***"'),
        ('+token = Secret(\n+    "CANARY",', '+token = Secret(\n+    "***",'),
        ('-token = (\n+x = (\n+    "a"\n-    "CANARY"', '-token = (\n+x = (\n+    "a"\n-    "***"'),
        ('+token = x\n+"""Doc."""', '+token = x\n+"""Doc."""'),
    ],
)
def test_a_secret_on_the_line_after_its_name_is_hidden_in_a_diff(lines, shown):
    assert Secrets({}).diff(f"+++ b/x.py\n@@ -1 +1 @@\n{lines}") == (
        f"+++ b/x.py\n@@ -1 +1 @@\n{shown}"
    )


def test_a_private_key_in_a_diff_is_hidden():
    key = "+-----BEGIN RSA PRIVATE KEY-----\n+CANARY\n+CANARY\n+-----END RSA PRIVATE KEY-----\n+x"
    shown = Secrets({}).diff(key)
    assert "CANARY" not in shown
    assert shown.endswith("-----END RSA PRIVATE KEY-----\n+x")


@pytest.mark.parametrize("line", ['password: "hun ter; 2"', "PASSWORD='hun ter; 2'"])
def test_a_quoted_secret_is_hidden_with_its_blanks(line):
    shown = line.replace("hun ter; 2", "***")
    assert Secrets({}).text(line) == shown
    assert Secrets({}).diff(f"+++ b/x.yaml\n+{line}") == f"+++ b/x.yaml\n+{shown}"


def test_no_line_of_a_diff_is_passed_over():
    """What git quotes in headers of changes, and lines of files that look like headers."""
    code = '+++ b/x.py\n@@ -1 +1 @@ def login(password="CANARY"):\n--- password = "CANARY"\n'
    other = "+++ b/x.sql\n@@ -1 +1 @@ password: CANARY\n--- password=CANARY\n+++ password=CANARY"
    shown = Secrets({}).diff(code + other)
    assert "CANARY" not in shown
    assert shown.count("***") == 5


def test_values_that_hold_themselves_and_bytes_are_looked_through(tmp_path):
    hidden = Secrets({"SERVICE_TOKEN": "CANARY-env-value"})
    endless = ["basic", "word1234"]
    endless.append({"again": endless})
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert not hidden.is_in([endless, deep, b"bytes"])
    endless[-1]["more"] = b"is CANARY-env-value"
    assert hidden.is_in(endless)
    assert hidden.is_in({"n": [{"password": b"x"}]})
    with mltraq.create_session(f"sqlite:///{tmp_path}/x.db") as session:
        endless.pop()
        endless.append(endless)
        experiment = session.add_experiment("endless").add_runs(x=[1])
        experiment.execute(lambda run: None, {"endless": endless}, backend="local").persist()
        (execution,) = map(experiment.execution, experiment.executions.index)
        assert "endless" in execution.kwargs
