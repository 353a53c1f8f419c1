"""Columns of frames and experiments, one below the other, in one frame."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.model.runs import Runs

if TYPE_CHECKING:
    from mltraq_prefect.model.run import Run

EXPERIMENT = "experiment"
"""Column that tells several experiments or frames apart."""

LEDGER = ("state", "duration_s", "started_at", "error", "cpu_s", "peak_rss_bytes", "worker")
"""What the ledger says of a run, unless a param or field has the name."""


def is_several(data: Any) -> bool:
    """Return whether `data` are several frames or experiments."""
    return not isinstance(data, pd.DataFrame) and _runs(data) is None


def columns_of(data: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return columns of a frame or an experiment, or of several, with `EXPERIMENT` added.

    Args:
        data: A frame; an experiment, or its runs; several; or a mapping from names to those.
        names: The columns: those of a frame; fields, params and `LEDGER` of an experiment.

    Raises:
        InvalidInput: `data` is something else, or has no such column.
    """
    if not is_several(data):
        return _columns(data, names, "the data")
    parts = _named(data)
    wanted = [name for name in names if name != EXPERIMENT]
    frames = [_columns(part, wanted, repr(name)) for name, part in parts.items()]
    stacked = pd.concat(frames, ignore_index=True)
    sizes = [len(frame) for frame in frames]
    stacked[EXPERIMENT] = np.repeat(np.array(list(parts), dtype=object), sizes)
    return stacked


def _named(data: Any) -> dict[str, Any]:
    if isinstance(data, Mapping):
        pairs = list(data.items())
    elif isinstance(data, Iterable) and not isinstance(data, str):
        pairs = [(getattr(one, "name", None), one) for one in data]
    else:
        raise InvalidInput(
            f"compare is given a {type(data).__name__}; give it a frame, an experiment, a list of "
            "experiments, or a mapping from names to frames"
        )
    if not pairs:
        raise InvalidInput("compare is given neither frames nor experiments")
    names = [name for name, _ in pairs]
    if not all(isinstance(name, str) for name in names):
        raise InvalidInput("frames have no names: give compare a mapping from names to frames")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"two experiments are called {twice!r}: give compare a mapping from names to them"
        )
    return dict(pairs)


def _columns(data: Any, names: Sequence[str], owner: str) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        _check_known(names, data.columns, owner)
        twice = next((name for name in names if list(data.columns).count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"{owner} has two columns {twice!r}; rename one")
        return data[list(names)].reset_index(drop=True)
    found = _runs(data)
    if found is None:
        raise InvalidInput(f"{owner} is a {type(data).__name__}, no frame and no experiment")
    runs = list(found.values())
    fields, params = (
        dict.fromkeys(key for run in runs for key in part(run)) for part in (_fields, _params)
    )
    _check_known(names, (*fields, *params, *LEDGER), owner)
    columns = {}
    for name in names:
        part = _fields if name in fields else _params if name in params else _ledger
        columns[name] = pd.Series([part(run).get(name) for run in runs], dtype=object)
    return pd.DataFrame(columns)


def _runs(data: Any) -> Runs | None:
    """Return the runs of an experiment, or those that are given; None of anything else."""
    return data if isinstance(data, Runs) else getattr(data, "runs", None)


def _fields(run: Run) -> Mapping[str, Any]:
    return run.fields


def _params(run: Run) -> Mapping[str, Any]:
    return run.params


def _ledger(run: Run) -> Mapping[str, Any]:
    return {name: getattr(run.ledger, name) for name in LEDGER}


def _check_known(names: Iterable[Hashable], known: Iterable[Hashable], owner: str) -> None:
    trouble = unknown_name(names, known)
    if trouble is not None:
        raise InvalidInput(f"{owner} has no column {trouble}")
