"""The runs of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mltraq_prefect.model.frames import frame_of
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.union import supersedes

if TYPE_CHECKING:
    import pandas as pd


class Runs(dict[str, Run]):
    """The runs of an experiment in the order in which they were defined, by `id_run`."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        super().__init__((run.id_run, run) for run in runs)

    def add(self, *runs: Run | Mapping[str, Run]) -> None:
        """Add runs, or all runs of other collections.

        A run with a known id is the same run: it is taken if it was executed and the known one was
        not; of two that have equal fields one stays.

        Raises:
            InvalidInput: Both have results, and different ones; nothing was added.
        """
        new: dict[str, Run] = {}
        for item in runs:
            for run in item.values() if isinstance(item, Mapping) else (item,):
                known = new.get(run.id_run) or self.get(run.id_run)
                if known is None or (known is not run and supersedes(run, known)):
                    new[run.id_run] = run
        self.update(new)

    def __or__(self, other: Any) -> Any:
        """Return the union of two collections of runs; see `add`."""
        if not isinstance(other, Mapping):
            return NotImplemented
        union = Runs(self.values())
        union.add(other)
        return union

    def __ror__(self, other: Any) -> Any:
        return Runs(other.values()) | self if isinstance(other, Mapping) else NotImplemented

    def __ior__(self, other: Any) -> Runs:  # type: ignore[override]
        self.add(other)
        return self

    def __missing__(self, key: object) -> Run:
        raise KeyError(
            f"there is no run {key!r}: runs are found by id_run; "
            "the first is runs.first(), all in order are list(runs.values())"
        )

    def next(self) -> Run:
        """Make a run with a random id and without params, add it, and return it."""
        run = Run()
        self[run.id_run] = run
        return run

    def first(self) -> Run:
        """Return the first run; raises LookupError if there is none."""
        for run in self.values():
            return run
        raise LookupError("there are no runs; define some with add_run() or add_runs()")

    def df(self) -> pd.DataFrame:
        """Return a frame with `id_run` and the fields, one row a run, values as they are."""
        return frame_of(self.values())

    def __repr__(self) -> str:
        return f"Runs({len(self)})"
