"""The key that signs pickles."""

from __future__ import annotations

from mltraq_prefect.orchestration.current import inside_run
from mltraq_prefect.storage.pickles import user_key


def signing_key() -> bytes:
    """Return the key that signs pickles: the user's or, in a flow, that of a Prefect block."""
    if not inside_run():
        return user_key()
    from mltraq_prefect.orchestration.api import pickle_key_of_block

    return user_key(pickle_key_of_block)
