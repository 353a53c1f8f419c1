"""Rows of `experiment_uploads`: objects in a location of files that no file refers to.

An object is written down here before it is uploaded, and again when its last file is deleted. So
whatever a killed process leaves behind is known, and `prune` removes it, without listing a
location that others may share.
"""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_128_hexdigest

from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.values.kinds import KEY, TEXT, Kind

UPLOADS: dict[str, Kind] = {"place_key": KEY, "place": TEXT}
UPLOADS_KEY = ("place_key",)


def _key(place: str, *, is_going: bool = False) -> str:
    return xxh3_128_hexdigest(f"{'-' if is_going else '+'}{place}".encode())


def _insert(transaction: Transaction, places: Sequence[str], *, is_going: bool) -> None:
    keys = [_key(place, is_going=is_going) for place in places]
    for key in keys:
        _delete(transaction, key)
    if places:
        transaction.insert("experiment_uploads", UPLOADS, [keys, list(places)])


def _delete(transaction: Transaction, key: str) -> bool:
    sql = f"DELETE FROM experiment_uploads WHERE place_key = {transaction.dialect.placeholder}"
    return transaction.connection.exec_driver_sql(sql, (key,)).rowcount > 0


def note(transaction: Transaction, places: Sequence[str]) -> None:
    """Write down objects that are about to be uploaded."""
    _insert(transaction, places, is_going=False)


def claim(transaction: Transaction, place: str) -> bool:
    """Say that a file refers to an object now; return False if it is taken for a leftover."""
    return _delete(transaction, _key(place))


def abandon(transaction: Transaction, places: Sequence[str]) -> None:
    """Write down objects that no file refers to any more; they go after the commit."""
    _insert(transaction, places, is_going=True)
    transaction.abandoned += places


def take(transaction: Transaction) -> list[str]:
    """Return objects that no file refers to, and from now on no file will."""
    sql = "SELECT place_key, place FROM experiment_uploads"
    found = []
    for key, place in transaction.rows(sql):
        if key == _key(place, is_going=True):
            found.append(place)
        elif claim(transaction, place):  # or else its writer was faster
            _insert(transaction, [place], is_going=True)
            found.append(place)
    return found


def forget(transaction: Transaction, places: Sequence[str]) -> None:
    """Forget objects that are removed."""
    for place in places:
        _delete(transaction, _key(place, is_going=True))
