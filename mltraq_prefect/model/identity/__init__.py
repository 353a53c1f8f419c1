"""What identifies a run: canonical forms of params, and the ids that are made of them.

A run's id is a UUIDv5 (RFC 9562, section 5.5) of the experiment's name, the canonical form of the
run's params and a replicate number, so the same run has the same id wherever it is defined.
"""

from mltraq_prefect.model.identity.bytecode import code_digest
from mltraq_prefect.model.identity.canonical import (
    Buffers,
    Canonical,
    as_python,
    canonical,
    digest,
    reference,
)
from mltraq_prefect.model.identity.ids import RUN_NAMESPACE, Ids, key_of, nameless, position_key
from mltraq_prefect.model.identity.objects import take_apart

__all__ = [
    "Buffers",
    "Canonical",
    "Ids",
    "RUN_NAMESPACE",
    "as_python",
    "canonical",
    "code_digest",
    "digest",
    "key_of",
    "nameless",
    "position_key",
    "reference",
    "take_apart",
]
