"""The runs of an experiment that was read, of which none is made before somebody asks for one."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mltraq_prefect.arguments import check_flags
from mltraq_prefect.model.collection import uncollected
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs

if TYPE_CHECKING:
    import pandas as pd


class RunsInColumns(Sequence[Run]):
    """Runs as they were read, which are made when somebody asks for one."""

    @abstractmethod
    def frame(self, *, params: bool, ledger: bool) -> pd.DataFrame:
        """Return their frame, for which no run is made; see `Runs.df`."""


_UNMADE: Any = object()
"""Stands for the runs, so that what looks into dicts without their methods does not find none."""


class LoadedRuns(Runs):
    """Runs that are columns. They become `Runs` when somebody asks for one of them.

    Their number and their frame are told without. Safe to use from several threads.

    Args:
        columns: The runs.
    """

    def __init__(self, columns: RunsInColumns) -> None:
        super().__init__()
        dict.__setitem__(self, "", _UNMADE)
        self._unmade = columns, threading.Lock()
        self._origin: Any = None

    def __len__(self) -> int:
        columns = self._columns()
        return super().__len__() if columns is None else len(columns)

    def df(self, *, params: bool = False, ledger: bool = False) -> pd.DataFrame:
        """Return the fields of the runs as a frame; see `Runs.df`."""
        check_flags(params=params, ledger=ledger)
        columns = self._columns()
        if columns is None:
            return super().df(params=params, ledger=ledger)
        return columns.frame(params=params, ledger=ledger)

    def set_origin(self, origin: Any) -> None:
        """Tell it to the runs when they are made."""
        self._origin = origin

    def _columns(self) -> RunsInColumns | None:
        unmade: tuple[RunsInColumns, Any] | None = self.__dict__.get("_unmade")
        return None if unmade is None else unmade[0]

    def make(self) -> None:
        """Make the runs; nothing if they are."""
        if (unmade := self.__dict__.get("_unmade")) is None:
            return
        columns, lock = unmade
        with lock:
            if isinstance(self, LoadedRuns):  # no other thread was first
                uncollected(self._fill, columns)

    def _fill(self, columns: RunsInColumns) -> None:
        origin = self._origin
        dict.clear(self)
        for run in columns:
            run.origin = origin
            dict.__setitem__(self, run.id_run, run)
        self.__class__ = Runs  # type: ignore[assignment]
        self.__dict__.clear()


def runs_of(runs: Iterable[Run]) -> Runs:
    """Return runs by their ids; those that are columns are made later."""
    return LoadedRuns(runs) if isinstance(runs, RunsInColumns) else Runs(runs)


def _of_runs(name: str) -> Callable[..., Any]:
    """Return the method of a dict that makes the runs first."""

    def call(self: LoadedRuns, *args: Any, **named: Any) -> Any:
        self.make()
        return getattr(self, name)(*args, **named)

    return call


for _name in (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__iter__", "__ne__"),
    *("__reduce_ex__", "__reversed__", "__setitem__", "clear", "copy", "get", "items", "keys"),
    *("pop", "popitem", "setdefault", "update", "values"),
):
    setattr(LoadedRuns, _name, _of_runs(_name))
