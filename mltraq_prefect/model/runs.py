"""The runs of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mltraq_prefect.model.frames import frame_of
from mltraq_prefect.model.notebook import runs_page
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.union import supersedes
from mltraq_prefect.texts import counted

if TYPE_CHECKING:
    import pandas as pd


class Runs(dict[str, Run]):
    """The runs of an experiment by `id_run`, in the order in which they were added.

    Args:
        runs: The runs.

    Examples:
        >>> runs = Runs([Run(params={"x": 1}), Run(params={"x": 2})])
        >>> [run.params.x for run in runs.values()]
        [1, 2]
    """

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        super().__init__((run.id_run, run) for run in runs)

    def add(self, *runs: Run | Mapping[str, Run]) -> None:
        """Add runs, or all runs of other collections.

        Runs of equal id are the same run: the one that was executed is kept. If both were executed
        with equal results, the one that is here already is kept.

        Args:
            *runs: Runs, or mappings from `id_run` to runs.

        Raises:
            InvalidInput: Two runs of equal id have different results; nothing was added.

        Examples:
            >>> runs = Runs()
            >>> runs.add(Run(params={"x": 1}), Runs([Run(params={"x": 2})]))
            >>> len(runs)
            2
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
        """Add a run with a random id and without params, and return it."""
        run = Run()
        self[run.id_run] = run
        return run

    def first(self) -> Run:
        """Return the first run.

        Raises:
            LookupError: There are no runs.
        """
        for run in self.values():
            return run
        raise LookupError("there are no runs; define some with add_run() or add_runs()")

    def df(self, *, params: bool = False, ledger: bool = False) -> pd.DataFrame:
        """Return the fields of the runs as a frame.

        Args:
            params: Whether the params are columns as well, before the fields; one that has the name
                of a field is called ``param_<name>``.
            ledger: Whether `state`, `duration_s` (seconds), `started_at` (UTC) and `error` are
                columns as well, after the fields; one whose name is taken is called
                ``run_<name>``.

        Returns:
            A frame with one row a run, in order. Columns: `id_run`, and one a field, in the order
            in which they first appear; a field `id_run` is called ``field_id_run``. A column has
            the dtype that holds its values exactly: ``bool``, ``int64``, ``float64``, ``str``,
            ``datetime64`` or ``timedelta64``; where some are missing, ``boolean`` and ``Int64``.
            Values of other types, and of several, are as they are, with dtype object. Missing is
            what a run lacks, None, and `pandas.NA`.

        Examples:
            >>> runs = Runs([Run("a", params={"x": 1}, fields={"y": 1}), Run("b", fields={"y": 2})])
            >>> runs.df(params=True)
              id_run     x  y
            0      a     1  1
            1      b  <NA>  2
        """
        return frame_of(self.values(), params=params, ledger=ledger)

    def set_origin(self, origin: Any) -> None:
        """Tell the runs where their results come from; for the package itself.

        Args:
            origin: What knows it.
        """
        for run in self.values():
            run.origin = origin

    def shown(self, title: str, about: str = "", fields: Mapping[str, Any] | None = None) -> str:
        """Return a page about the runs for a notebook; for the package itself.

        Args:
            title: Its heading.
            about: What comes first.
            fields: What is tracked of all of them together.
        """
        return runs_page(title, self.values(), about, fields)

    def __repr__(self) -> str:
        return f"Runs({len(self)})"

    def _repr_html_(self) -> str:
        return self.shown(counted(len(self), "run"))
