"""Whole experiments as signed pickles: opt-in, and bound to experiment and user.

Sealed bytes are ``MLTQPKL1``, an HMAC-SHA256 (RFC 2104) over all else, and a pickle. The signature
covers name and id of the experiment, so that a row copied to another experiment is refused.
`unseal` is the only way from stored bytes to `unpickled`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mltraq_prefect.environment import PICKLE_KEY
from mltraq_prefect.errors import InvalidInput, StoreError, UntrustedPickle
from mltraq_prefect.model.pickling import unpickled
from mltraq_prefect.storage.records import Record

SEAL_MAGIC = b"MLTQPKL1"
_LEAST_KEY = 16
_SIGNATURE = slice(len(SEAL_MAGIC), len(SEAL_MAGIC) + 32)


def seal(obj: object, key: bytes, experiment: tuple[str, str]) -> bytes:
    """Pickle an object and sign it.

    Args:
        obj: Anything that cloudpickle takes.
        key: The user's key.
        experiment: Name and id of the experiment that the pickle is stored with.
    """
    import cloudpickle

    data: bytes = cloudpickle.dumps(obj)
    return SEAL_MAGIC + _signature(data, key, experiment) + data


def seal_record(record: Record, key: bytes, id_experiment: str) -> bytes:
    """Pickle an experiment and sign it for the id under which it is stored.

    Raises:
        InvalidInput: Something in it cannot be pickled; names it.
    """
    try:
        return seal(record, key, (record.name, id_experiment))
    except Exception as error:
        raise InvalidInput(
            f"experiment {record.name!r}{_culprit(record)} cannot be pickled: {error}; leave it "
            "out, or persist without store_pickle=True, which needs no pickle of fields and params"
        ) from None


def _culprit(record: Record) -> str:
    """Find what cannot be pickled; only errors pay for it."""
    own = [(f", fields.{key}", value) for key, value in dict(record.fields).items()]
    parts = ("params", "kwargs", "fields", "locals")
    of_runs = [
        (f", run {run.describe()}: {part}.{key}", value)
        for run in record.runs
        for part in parts
        for key, value in dict(getattr(run, part)).items()
    ]
    culprits = (f"{path} (of type {type(v).__name__})" for path, v in own + of_runs if _fails(v))
    return next(culprits, "")


def _fails(value: object) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception:
        return True
    return False


_CLASSES_OF_RUNS = {
    **dict.fromkeys(("LedgerEntry", "StepEntry"), "mltraq_prefect.model.ledger_entry"),
    "Namespace": "mltraq_prefect.model.namespace",
    "Run": "mltraq_prefect.model.run",
    "Runs": "mltraq_prefect.model.runs",
}
"""Modules of classes that were in one module once, or are so still."""

_MOVED = {
    "mltraq_prefect.storage.columns": "mltraq_prefect.storage.values.columns",
    "mltraq_prefect.storage.layout": "mltraq_prefect.storage.values.layout",
    "mltraq_prefect.storage.tagging": "mltraq_prefect.storage.tables.tagging",
} | {
    f"{module}.{name}": moved
    for module in ("mltraq_prefect.run", "mltraq_prefect.model.run")
    for name, moved in _CLASSES_OF_RUNS.items()
}
"""Where modules and classes are that pickles of earlier versions name."""


def unseal(data: bytes, key: bytes, experiment: tuple[str, str]) -> Any:
    """Check the signature, and only then unpickle.

    Raises:
        UntrustedPickle: It was not sealed with this key for this experiment; nothing was unpickled.
    """
    body = data[_SIGNATURE.stop :]
    if not data.startswith(SEAL_MAGIC):
        raise UntrustedPickle(f"the pickle of experiment {experiment[0]!r} is not signed")
    if not hmac.compare_digest(data[_SIGNATURE], _signature(body, key, experiment)):
        raise UntrustedPickle(
            f"the pickle of experiment {experiment[0]!r} was not signed with your key, or was "
            f"changed; set {PICKLE_KEY} to the key of who stored it only if you trust them with "
            "your account"
        )
    return unpickled(body, moved=_MOVED)


def _signature(data: bytes, key: bytes, experiment: tuple[str, str]) -> bytes:
    parts = [part.encode("utf-8", "surrogatepass") for part in experiment]
    head = b"".join(len(part).to_bytes(8) + part for part in parts)
    return hmac.new(key, SEAL_MAGIC + head + data, hashlib.sha256).digest()


def user_key(shared: Callable[[], str | None] = lambda: None) -> bytes:
    """Return the user's key: ``MLTRAQ_PICKLE_KEY``, or a file that is made on first use.

    The file is ``mltraq/pickle.key`` in ``XDG_CONFIG_HOME`` or ``~/.config``, with mode 0600.

    Args:
        shared: Asked for a key that a team shares if the variable is not set; None if it has none.

    Raises:
        InvalidInput: The variable or the shared key holds fewer than 16 characters.
        StoreError: Others can read the file, or it cannot be made.
    """
    text, source = os.environ.get(PICKLE_KEY), PICKLE_KEY
    if text is None:
        text, source = shared(), "the shared key for pickles"
    if text is not None:
        if len(text) < _LEAST_KEY:
            raise InvalidInput(f"{source} is shorter than {_LEAST_KEY} characters")
        return text.encode()
    path = key_path()
    try:
        if not path.exists():
            _make_key(path)
        return _read_key(path)
    except OSError as error:
        raise StoreError(
            f"the key that signs pickles cannot be kept in {path}: {error.strerror}; set "
            f"{PICKLE_KEY} to a secret of your own"
        ) from None


def key_path() -> Path:
    """Return where the file with the user's key is, or would be."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "mltraq/pickle.key"


def trouble_of_key() -> str | None:
    """Return what is wrong with the key that signs pickles; None if nothing is. Makes no file."""
    if os.environ.get(PICKLE_KEY) is None and not key_path().exists():
        return None
    try:
        user_key()
    except (InvalidInput, StoreError) as error:
        return str(error)
    return None


def _make_key(path: Path) -> None:
    """Make the key file in one step, so that of two processes one wins and none sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _read_key(path: Path) -> bytes:
    mode = path.stat().st_mode
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StoreError(
            f"the key that signs pickles can be read by others; run chmod 600 {path}, and delete "
            "it if you do not trust them: pickles that it has signed are then refused"
        )
    key = path.read_bytes().strip()
    if len(key) < _LEAST_KEY:
        raise StoreError(f"the key file {path} is damaged; delete it, and a new one is made")
    return key
