"""Choice between two runs of equal id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mltraq_prefect.errors import InvalidInput

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run


def supersedes(run: Run, known: Run) -> bool:
    """Return whether a run replaces another one of equal id.

    Raises:
        InvalidInput: Both have results, and different ones.
    """
    if not run.fields and run.ledger.state == "pending":
        return False
    if not known.fields and known.ledger.state == "pending":
        return True
    differing = [key for key in {**known.fields, **run.fields} if not _have_equal(known, run, key)]
    if not differing and run.params == known.params:
        return False
    what = f"fields {', '.join(map(repr, differing))}" if differing else "params"
    raise InvalidInput(
        f"run {run.describe()} ({run.id_run}) is in both collections, with different {what}: runs "
        "of the same experiment and params are the same run; tell them apart by a param, such as "
        "replicate=1, or by experiments of different names"
    )


def _have_equal(one: Run, other: Run, key: str) -> bool:
    if key not in one.fields or key not in other.fields:
        return False
    mine, theirs = one.fields[key], other.fields[key]
    if mine is theirs:
        return True
    if type(mine) is not type(theirs):
        return False
    try:
        if hasattr(mine, "equals"):  # of pandas
            return bool(mine.equals(theirs))
        if isinstance(mine, np.ndarray):
            return np.array_equal(mine, theirs, equal_nan=mine.dtype.kind in "fc")
        return bool(mine == theirs) or bool(mine != mine and theirs != theirs)
    except Exception:  # it cannot be compared
        return False
