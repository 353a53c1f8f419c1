"""Rows of `experiment_steps`: what fingerprints were made of, so that a difference has a name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache

from mltraq_prefect.storage.records import FingerprintParts
from mltraq_prefect.storage.sql.connections import Transaction
from mltraq_prefect.storage.texts import texts_of
from mltraq_prefect.storage.values.kinds import KEY, TEXT, Kind

STEPS: dict[str, Kind] = {
    "id_experiment": KEY,
    "digest": KEY,
    "step": TEXT,
    "parts": TEXT,
    "sources": TEXT,
}
STEPS_KEY = ("id_experiment", "digest")

WHAT = "the parts of a fingerprint"


def put(
    transaction: Transaction, id_experiment: str, fingerprints: Mapping[str, FingerprintParts]
) -> None:
    """Insert the rows of digests that have none yet."""
    if not fingerprints:
        return
    sql = "SELECT digest FROM experiment_steps WHERE id_experiment = ?"
    stored = {row[0] for row in transaction.rows(sql, (id_experiment,))}
    rows = [
        (id_experiment, digest, item.step, json.dumps(item.parts), json.dumps(item.sources))
        for digest, item in sorted(fingerprints.items())
        if digest not in stored
    ]
    if rows:
        transaction.insert("experiment_steps", STEPS, list(zip(*rows, strict=True)))


def read(transaction: Transaction, id_experiment: str) -> dict[str, FingerprintParts]:
    """Return what the fingerprints of an experiment were made of, by digest.

    Raises:
        CorruptData: A row is something else.
    """
    sql = "SELECT digest, step, parts, sources FROM experiment_steps WHERE id_experiment = ?"
    rows = transaction.rows(sql, (id_experiment,))
    return {digest: _parsed(*cells) for digest, *cells in rows}


@lru_cache(100)
def _parsed(step: str | None, parts: str, sources: str) -> FingerprintParts:
    return FingerprintParts(step, texts_of(parts, WHAT), texts_of(sources, WHAT))


def clear_unused(transaction: Transaction, id_experiment: str, prints: Iterable[str]) -> None:
    """Delete the rows of digests that are in no fingerprint any more.

    Args:
        transaction: Where.
        id_experiment: The experiment.
        prints: The fingerprints that there are.
    """
    used = {digest for text in prints for digest in text.rpartition(":")[2].split("-")}
    sql = "SELECT digest FROM experiment_steps WHERE id_experiment = ?"
    for (digest,) in transaction.rows(sql, (id_experiment,)):
        if digest not in used:
            transaction.run(
                "DELETE FROM experiment_steps WHERE id_experiment = ? AND digest = ?",
                (id_experiment, digest),
            )
