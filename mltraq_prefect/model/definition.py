"""How an experiment gets its runs: ids are made of params, and equal params make replicates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.collection import uncollected
from mltraq_prefect.model.identity import (
    Buffers,
    Canonical,
    Ids,
    key_of,
    nameless,
    position_key,
)
from mltraq_prefect.model.names import check_name
from mltraq_prefect.model.params import Params
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs


class Definition:
    """Adds runs to an experiment.

    Args:
        ids_name: Name of the experiment of which ids of runs are made.
        name: Returns the name that it has now.
        runs: Its runs; new ones are added at the end.
        is_stored: Returns whether the database has a run.
        buffers: Encodes values of the types that can be stored.
    """

    def __init__(
        self,
        ids_name: str,
        name: Callable[[], str],
        runs: Runs,
        is_stored: Callable[[Run], bool],
        buffers: Buffers,
    ) -> None:
        self._name = name
        self._ids = Ids(ids_name)
        self._runs = runs
        self._is_stored = is_stored
        self._buffers = buffers
        self._replicate_ids: dict[str, Iterator[str]] = {}
        self._ids_by_position: set[str] = set()
        self._names: set[str] = set()

    def add(self, params: Mapping[str, Any], *, reuse_stored: bool = False) -> Run:
        """Add a run; see `add_all`."""
        (run,) = self.add_all([params], reuse_stored=reuse_stored)
        return run

    def add_all(self, points: Iterable[Mapping[str, Any]], *, reuse_stored: bool) -> list[Run]:
        """Add a run for each point.

        Args:
            points: Params of the runs. They must not change meanwhile.
            reuse_stored: Whether a point that the database has a run of means that run, rather
                than a replicate.

        Raises:
            InvalidName: A param has a name that no database can carry.
        """
        forms = Canonical(self._buffers)
        return uncollected(lambda: [self._add(params, forms, reuse_stored) for params in points])

    def _add(self, params: Mapping[str, Any], forms: Canonical, reuse_stored: bool) -> Run:
        if not params.keys() <= self._names:
            for name in params:
                check_name(name, f"experiment {self._name()!r}: param name")
            self._names.update(params)
        key = key_of(params, forms)
        own = position_key(len(self._runs)) if key is None else key
        id_run = first = self._ids.of(own, 0)
        if first in self._runs:
            if reuse_stored and self._is_stored(self._runs[first]):
                return self._runs[first]
            ids = self._replicate_ids.setdefault(first, self._ids.all(own))
            id_run = next(id_run for id_run in ids if id_run not in self._runs)
        self._runs[id_run] = run = Run.defined(id_run, Params(params))
        if key is None:
            self._ids_by_position.add(id_run)
        return run

    def refuse_unidentified(self, is_known: Callable[[str], bool]) -> None:
        """Refuse runs that only their position identifies.

        Args:
            is_known: Returns whether the database is known to have the run of an id.

        Raises:
            InvalidInput: There are such runs, and the database does not have them.
        """
        for id_run in self._ids_by_position:
            if id_run in self._runs and not is_known(id_run):
                run = self._runs[id_run]
                name, reason = nameless(run.params, Canonical(self._buffers))
                raise InvalidInput(
                    f"experiment {self._name()!r}, run {run.describe()}: nothing identifies "
                    f"param {name!r} ({reason}), so that another run could take this one's place "
                    "in the database; checkpoints and merges need that. Give as param what the "
                    "value is made from (a path, a name, settings), and make it in a step"
                )
