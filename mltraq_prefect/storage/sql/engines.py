"""Engines, and what their connections are tested for before they are used again."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from mltraq_prefect.errors import InvalidInput, StorageUnavailable
from mltraq_prefect.requirements import check_installed, installed, with_extra
from mltraq_prefect.storage.sql import urls
from mltraq_prefect.storage.sql.dialects import Dialect

_TESTED_AFTER_SECONDS = 1.0
"""A connection that was idle for longer is tested before it is used."""

_IDLE_SINCE = "mltraq_idle_since"

_OPENED = "mltraq_opened"
_LEFT = "mltraq_left"


def engine(url: sa.URL, dialect: Dialect) -> sa.Engine:
    """Return an engine, whose connections are what they seem to be whenever they are used.

    Raises:
        InvalidInput: An option of the URL cannot be used, or there is no such driver.
        StorageUnavailable: The driver is not installed.
    """
    options = dialect.engine_options(url) | {
        "connect_args": urls.arguments(url, dialect) | dialect.connect_args(url)
    }
    driver = url.get_driver_name()
    if dialect.driver_versions and installed(driver) is not None:
        check_installed(driver, dialect.driver_versions)
    try:
        made = sa.create_engine(url, hide_parameters=True, **options)
    except ModuleNotFoundError as error:
        raise StorageUnavailable(
            f"{dialect.name} databases need the package {error.name}; run: "
            f"{with_extra(dialect.extra)}"
        ) from None
    except sa.exc.NoSuchModuleError:
        raise InvalidInput(f"SQLAlchemy has no driver {url.drivername}; name another one") from None
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"an option of the database URL {urls.masked(url)} cannot be used: {error}"
        ) from None
    # First of all: SQLAlchemy then asks how names are quoted.
    sa.event.listen(
        made, "connect", lambda connection, _record: dialect.prepare(connection), insert=True
    )
    if dialect.reconnects:
        _test_idle(made)
    else:
        _test_file(made, dialect, url)
    return made


def _test_idle(engine: sa.Engine) -> None:
    """Let a connection be replaced if it was lost while it was idle.

    One that was used a moment ago is not tested, which would be one of few messages of a
    transaction: if it is lost after all, the operation is repeated.
    """

    def note(_connection: object, record: Any) -> None:
        record.info[_IDLE_SINCE] = time.monotonic()

    def test(connection: Any, record: Any, _fairy: object) -> None:
        since = record.info.get(_IDLE_SINCE)
        if since is None or time.monotonic() - since < _TESTED_AFTER_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise sa.exc.InvalidatePoolError from None

    sa.event.listen(engine, "checkin", note)
    sa.event.listen(engine, "checkout", test)


def _test_file(engine: sa.Engine, dialect: Dialect, url: sa.URL) -> None:
    """Let a connection be replaced if its file is not as it was left; see `leave`.

    Another file may have its place. Who restores a backup writes over the file itself, and what a
    connection knows of its pages would pass for those of the backup.
    """

    def note_first(_dialect: object, record: Any, *_arguments: object) -> None:
        dialect.before_connect(url, write=False)  # who writes has made the file before
        record.info[_OPENED] = dialect.file_state(url)[:1]

    def test(_connection: object, record: Any, _fairy: object) -> None:
        if record.info.get(_LEFT, found := dialect.file_state(url)) != found:
            raise sa.exc.DisconnectionError

    sa.event.listen(engine, "do_connect", note_first)
    sa.event.listen(engine, "checkout", test)


def leave(connection: sa.Connection, state: tuple[object, ...]) -> bool:
    """Note in which state a connection leaves its file; return whether it has left it so before.

    Args:
        connection: The connection, which has written all that it will write.
        state: The state of the file; see `Dialect.file_state`.
    """
    info = connection.info
    left = info.get(_OPENED, ()) + state[1:]
    was_left = bool(info.get(_LEFT) == left)
    info[_LEFT] = left
    return was_left
