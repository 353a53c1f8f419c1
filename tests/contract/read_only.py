"""URLs by which a database can be read and not written."""

import contextlib
import uuid

import sqlalchemy as sa


@contextlib.contextmanager
def read_only(url):
    """Yield such a URL of a database."""
    parsed = sa.make_url(url)
    kind = parsed.get_backend_name()
    with _WAYS.get(kind, _for_a_reader)(parsed) as restricted:
        yield restricted.render_as_string(hide_password=False)


@contextlib.contextmanager
def _of_a_file(url):
    yield sa.make_url(f"sqlite:///file:{url.database}?mode=ro&uri=true")


@contextlib.contextmanager
def _by_default(url):
    options = f"{url.query['options']} -cdefault_transaction_read_only=on"
    yield url.update_query_dict({"options": options})


@contextlib.contextmanager
def _for_a_reader(url):
    """The user may SELECT, and nothing else."""
    name = f"r_{uuid.uuid4().hex[:12]}"
    # Beside an anonymous user of this host, one of any host counts for nothing.
    users = [f"{name}@'{host}'" for host in ("localhost", "%%")]
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        for user in users:
            connection.exec_driver_sql(f"CREATE USER {user} IDENTIFIED BY '{name}'")
            connection.exec_driver_sql(f"GRANT SELECT ON {url.database}.* TO {user}")
        yield url.set(username=name, password=name)
        connection.exec_driver_sql(f"DROP USER {', '.join(users)}")


_WAYS = {"sqlite": _of_a_file, "postgresql": _by_default}
