"""What may stand between a program and its PostgreSQL server: a pooler, or a replica."""

from __future__ import annotations

import os
import shutil
import signal

import sqlalchemy as sa

from tests import servers
from tests.polling import poll

POOL_SIZE = 2
"""Connections to the server: fewer than clients, so that they take turns on each."""


def pgbouncer(url: str) -> servers.PrivateServer:
    """Return a pgbouncer before the server of a URL, in transaction mode, not started."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        servers.absent("pgbouncer")
    server, folder, port = sa.make_url(url), servers.new_directory(), servers.free_port()
    (folder / "users.txt").write_text(f'"{server.username}" "{server.password or ""}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={server.host} port={server.port or 5432}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\n"
        f"pool_mode = transaction\ndefault_pool_size = {POOL_SIZE}\n"
    )
    through = server.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    command = [program, folder / "pgbouncer.ini"]
    stop, crash = signal.SIGTERM, signal.SIGKILL
    return servers.PrivateServer(through, command, folder, ask=stop, crash=crash)


class Replica(servers.PrivateServer):
    """A server that follows another one by streaming replication, and can be read; not started.

    Args:
        primary: URL of the server that it follows, which takes all for replication.
    """

    def __init__(self, primary: str) -> None:
        programs = servers.postgresql_of_system() or servers.postgresql_of_wheel()
        folder, port = servers.new_directory(), servers.free_port()
        leader = sa.make_url(primary)
        where = ["-h", leader.host, "-p", leader.port, "-U", leader.username]
        copy = [programs / "pg_basebackup", *where, "-D", folder / "data", "-R", "-c", "fast", "-N"]
        servers.run(copy)
        options = [f"port={port}", "listen_addresses=127.0.0.1", "fsync=off"]
        options.append(f"unix_socket_directories={folder}")
        words = [word for option in options for word in ("-c", option)]
        command = [programs / "postgres", "-D", folder / "data", *words]
        url = leader.set(port=port).render_as_string(hide_password=False)
        super().__init__(url, command, folder, ask=signal.SIGINT, crash=signal.SIGQUIT)
        self._primary = primary

    def url_of(self, database_url: str) -> str:
        """Return the URL by which it has a database of its primary."""
        here, there = sa.make_url(self.url), sa.make_url(database_url)
        return there.set(host=here.host, port=here.port).render_as_string(hide_password=False)

    def catch_up(self) -> None:
        """Wait until it has all that its primary has now."""
        position = _scalar(self._primary, "SELECT pg_current_wal_lsn()::text")
        sql = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
        assert poll(lambda: _scalar(self.url, sql), bool), "the replica does not catch up"


def _scalar(url: str, sql: str) -> object:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(sql).scalar_one()
