"""DuckDB reads a database itself: by extensions that are installed, not downloaded.

Their packages exist for earlier releases of DuckDB than the one that the other tests use. So these
tests have an environment of their own: ``nox -s duckdb``.
"""

from pathlib import Path

import duckdb
import duckdb_extension_postgres_scanner
import duckdb_extension_sqlite_scanner
import pytest
import sqlalchemy as sa

from tests.contract.test_readers import MOMENT, connection

__all__ = ["connection"]

SCANNED = {"label": "a", "rate": 0.5, "n": 2**62, "flag": True, "at": MOMENT, "f_real": 0.5}


@pytest.mark.parametrize("shared_url", ["sqlite-file", "postgresql"], indirect=True)
def test_duckdb_reads_the_database_itself(connection):
    """As the documentation says: `sqlite_scan` and `postgres_scan` give native values."""
    opened, backend = connection
    names = ", ".join(f'"{name}"' for name in SCANNED)
    with duckdb.connect() as other:
        if backend == "sqlite":
            _load(other, duckdb_extension_sqlite_scanner)
            opened.rollback()
            sql = f"SELECT {names} FROM sqlite_scan(?, 'v_sales') WHERE rate < 0.75"
            [row] = other.execute(sql, [opened.engine.url.database]).fetchall()
        else:
            _load(other, duckdb_extension_postgres_scanner)
            url = opened.engine.url
            schema = opened.scalar(sa.text("SELECT current_schema()"))
            source = f"host={url.host} port={url.port or 5432} user={url.username} dbname="
            sql = f"SELECT {names} FROM postgres_scan(?, ?, 'v_sales') WHERE rate < 0.75"
            [row] = other.execute(sql, [source + url.database, schema]).fetchall()
    assert dict(zip(SCANNED, row, strict=True)) == SCANNED


def _load(connection, package):
    [folder] = package.__path__
    [extension] = Path(folder).glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
    connection.load_extension(str(extension))
