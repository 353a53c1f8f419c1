"""A run: one point of a grid, with what is tracked of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from mltraq_prefect.model.description import describe
from mltraq_prefect.model.files import FileDesk, OwnFiles
from mltraq_prefect.model.frames import frame_of
from mltraq_prefect.model.ledger_entry import LedgerEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.notebook import run_page
from mltraq_prefect.model.run_files import WithFiles
from mltraq_prefect.model.series import OwnRows, RowLog, own_rows_of
from mltraq_prefect.model.source import Source

if TYPE_CHECKING:
    import pandas as pd

_DEFAULTS: dict[str, Callable[[], Any]] = {
    "kwargs": Namespace,
    "locals": Namespace,
    "seed": int,
    "index": int,
    "origin": lambda: None,
    "_step": str,
    "_rng": lambda: None,
    "_source": lambda: None,
    "_own_rows": lambda: None,
    "_own_files": lambda: None,
    "_log": lambda: None,
    "file_desk": lambda: None,
}
_PARTS = frozenset(("params", "kwargs", "fields", "ledger"))


class Run(WithFiles):
    """One point of the grid: what varies (params), what is tracked (fields), what is scratch.

    Steps get runs; users do not make them, but add them with `Experiment.add_run`.

    Args:
        id_run: UUID as text; random if None. `Experiment.add_run` derives it from the params.
        params: Values that vary between runs, by name.
        kwargs: Values that are fixed for an execution, by name.
        fields: Values that are tracked, by key.
        locals: Scratch values, by name.
        seed: Seed of `rng`; not negative.
        ledger: State of the run; a pending one if None.

    Attributes:
        id_run (str): UUID that identifies the run in its experiment; read-only.
        params (Namespace): Values that vary between runs. They identify the run: steps must not
            change them.
        kwargs (Namespace): Values that are fixed for an execution. Each attempt gets a copy, but
            arrays from 1 MiB on are shared and read-only.
        fields (Namespace): Values that are tracked; the only ones that the tables keep. Keys are
            text.
        locals (Namespace): Scratch values for later steps, kept in memory only.
        ledger (LedgerEntry): State, steps, times and errors.
        seed (int): Seed of `rng`.
        index (int): Row number in the source that makes parts of the run; internal.
        origin (object): Knows where its results come from; internal.

    Examples:
        >>> run = Run(params={"x": 3})
        >>> run.fields.square = run.params.x ** 2
        >>> run["square"]
        9
    """

    __slots__ = (
        "_id_run",
        "_rng",
        "_source",
        "_step",
        "fields",
        "index",
        "kwargs",
        "ledger",
        "locals",
        "origin",
        "params",
        "seed",
    )

    def __init__(
        self,
        id_run: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        seed: int = 0,
        ledger: LedgerEntry | None = None,
    ) -> None:
        self._id_run = str(uuid.uuid4()) if id_run is None else id_run
        self.params = Namespace(params or {})
        self.kwargs = Namespace(kwargs or {})
        self.fields = Namespace(fields or {})
        self.locals = Namespace(locals or {})
        self.seed = seed
        self.ledger = LedgerEntry() if ledger is None else ledger
        self._source: Source | None = None
        self._own_rows: OwnRows | None = None
        self._own_files: OwnFiles | None = None
        self._log: RowLog | None = None
        self.file_desk: FileDesk | None = None
        self.index = 0
        self.origin: Any = None
        self.begin("")

    @classmethod
    def defined(cls, id_run: str, params: Namespace) -> Run:
        """Return a new run, whose kwargs and locals are made when they are first used.

        Args:
            id_run: UUID of the run, as text.
            params: Its params, as they are to be.
        """
        run = cls.__new__(cls)
        run._id_run = id_run
        run.params = params
        run.fields = Namespace()
        run.ledger = LedgerEntry()
        return run

    @classmethod
    def stored(cls, id_run: str, source: Source, index: int) -> Run:
        """Return a stored run, whose parts are made when they are first used.

        Args:
            id_run: UUID of the run, as text.
            source: Makes its parts.
            index: Row number of the run in the source.
        """
        run = cls.__new__(cls)
        run._id_run = id_run
        run._source = source
        run.index = index
        return run

    @property
    def id_run(self) -> str:
        """UUID as text that identifies the run in its experiment; read-only."""
        return self._id_run

    def defer(self, source: Source) -> None:
        """Drop parts from memory; a source makes each of them when it is next used.

        Args:
            source: Makes the parts that it lists. Parts that an earlier source has not made yet
                are made now.
        """
        for part in () if self._source is None else self._source.parts:
            getattr(self, part)
        self._source = source
        for part in source.parts:
            delattr(self, part)

    def awaits(self, part: str, source: Source) -> bool:
        """Return whether a part is not in memory, and this source will make it.

        Args:
            part: Name of the part, such as ``fields``.
            source: The source.
        """
        return self.is_of(source) and not self._has(part)

    def is_of(self, source: Source) -> bool:
        """Return whether parts of the run were deferred to this source.

        Args:
            source: The source.
        """
        return self._source is source

    def is_in_memory(self, part: str) -> bool:
        """Return whether a part is there without reading the database.

        Args:
            part: Name of the part, such as ``fields``.
        """
        source = self._source
        return source is None or not source.reads or part not in source.parts or self._has(part)

    def _has(self, part: str) -> bool:
        try:
            getattr(Run, part).__get__(self)
        except AttributeError:
            return False
        return True

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make a part that is not in memory."""
            if name in _PARTS and (source := self._source) is not None and name in source.parts:
                return self._made(name, source)
            if name not in _DEFAULTS:
                raise AttributeError(self._hint(name))
            value = _DEFAULTS[name]()
            setattr(self, name, value)
            return value

    def _hint(self, name: str) -> str:
        is_own = name.startswith("_") or name in Run.__slots__
        parts = () if is_own else ("params", "kwargs", "fields", "locals")
        found = [f"run.{part}.{name}" for part in parts if name in getattr(self, part)]
        hint = f"; did you mean {' or '.join(found)}?" if found else ""
        return f"a run has no attribute {name!r}{hint}"

    def _made(self, name: str, source: Source) -> Any:
        slot = getattr(Run, name)
        with source.lock:
            try:
                return slot.__get__(self)  # another thread was first
            except AttributeError:
                value = source.make(name, self)
                slot.__set__(self, value)
                return value

    def begin(self, step: str) -> None:
        """Start the random stream of a step.

        Args:
            step: Name of the step.
        """
        self._step: str = step
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        """Generator of random numbers that depend on seed, run and step, and on nothing else."""
        if self._rng is None:
            self._rng = np.random.default_rng(self.entropy())
        return self._rng

    def entropy(self) -> list[int]:
        """Return the seed words of the step: seed, id of the run, CRC of the step's name."""
        return [self.seed, uuid.UUID(self.id_run).int, crc32(self._step.encode())]

    def describe(self) -> str:
        """Return a description of the run for people: its params, or its id if it has none."""
        return describe(self.params) or self.id_run

    def copy(self) -> Run:
        """Return a run with the same values, in new dicts; the values are not copied."""
        copy = Run(
            self.id_run,
            params=self.params,
            kwargs=self.kwargs,
            fields=self.fields,
            locals=self.locals,
            seed=self.seed,
            ledger=self.ledger.copy(),
        )
        copy.copy_rows(self.logged())
        copy.copy_files(self.listed_files())
        return copy

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.fields[key] = value

    def __repr__(self) -> str:
        return f"Run({self.describe()}, fields={list(self.fields)}, state={self.ledger.state!r})"

    def _repr_html_(self) -> str:
        return run_page(self)

    def df(self, *, params: bool = False, ledger: bool = False) -> pd.DataFrame:
        """Return the fields of this run as a frame of one row; see `Runs.df`.

        Args:
            params: Whether the params are columns as well.
            ledger: Whether columns of the ledger are there as well.
        """
        return frame_of([self], params=params, ledger=ledger)

    def __getstate__(self) -> tuple[Any, ...]:
        rows = own_rows_of(self.logged()).by_step
        files = {name: entry.sendable() for name, entry in self.listed_files().items()}
        more = (rows, files) if files else (rows,) if rows else ()
        return (
            self.id_run,
            self.params,
            self.kwargs,
            self.fields,
            self.locals,
            self.seed,
            self.ledger,
            *more,
        )

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (
            self._id_run,
            self.params,
            self.kwargs,
            self.fields,
            self.locals,
            self.seed,
            self.ledger,
            *more,
        ) = state
        if more and more[0]:
            self._own_rows = OwnRows(more[0])
        if len(more) > 1:
            self._own_files = OwnFiles(more[1])
