"""Every error that the package raises on purpose.

::

    MltraqError
    ├── InvalidInput                 what the caller gave cannot be used (also a ValueError)
    │   ├── InvalidName              a name or key that no database can carry
    │   ├── InvalidGrid              the params of runs
    │   ├── InvalidStep              a step that is not a function of one run
    │   └── UnsupportedType          a value that the tables cannot keep exactly (also a TypeError)
    ├── RunsFailed                   steps raised in some runs; the results of the others are kept
    ├── RunsMissing                  some runs neither completed nor failed in an execution
    ├── StoreError                   the database cannot do what was asked
    │   ├── ExperimentExists
    │   ├── ExperimentNotFound       (also a LookupError)
    │   ├── FieldNotFound            (also a LookupError)
    │   ├── ForeignTable             a table of ours by name, but not by shape
    │   ├── NewerFormat              written by a later version of the package
    │   ├── QueryFailed              a user's SQL statement
    │   ├── ReadOnlyStore
    │   ├── StorageFull
    │   └── StorageUnavailable
    ├── UnsupportedVersion           an installed library is none with which the package works
    ├── CorruptData                  stored bytes that are not what was written
    │   └── UnavailableType          as they were written, of a type that is not to be had here
    └── UntrustedPickle              a pickle without a valid signature; nothing was unpickled

Messages name the object, the cause and what to do; some have the objects as attributes, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mltraq_prefect.notebook_tracebacks import users_traceback
from mltraq_prefect.texts import shortened


class MltraqError(Exception):
    """Root of the package's errors."""


class InvalidInput(MltraqError, ValueError):
    """An argument cannot be used; nothing was done."""


class InvalidName(InvalidInput):
    """A name or key that cannot be stored."""


class InvalidGrid(InvalidInput):
    """Params that cannot be made into runs."""


class InvalidStep(InvalidInput):
    """A step that is not a function of one run."""


class UnsupportedType(InvalidInput, TypeError):
    """A value that the tables cannot keep exactly.

    Codecs know only the path inside the value; storage adds run and experiment with `within`.

    Args:
        path: Path of the value, such as ``fields.scores[3]['a']``.
        type_name: Qualified name of the value's type.
        reason: What is wrong, and what to use instead.
        experiment: Name of the experiment; None if unknown.
        run: Description of the run; None if unknown.

    Attributes:
        path, type_name, reason (str): As given.
        experiment, run (str | None): As given.
    """

    def __init__(
        self,
        path: str,
        type_name: str,
        reason: str,
        *,
        experiment: str | None = None,
        run: str | None = None,
    ) -> None:
        self.path = path
        self.type_name = type_name
        self.reason = reason
        self.experiment = experiment
        self.run = run
        prefix = _prefix(experiment, run)
        super().__init__(f"{prefix}{path} is of type {type_name}, which cannot be stored: {reason}")

    def within(self, experiment: str, run: str | None = None) -> UnsupportedType:
        """Return the same error with the names of experiment and run.

        Args:
            experiment: Name of the experiment.
            run: Description of the run, or None.
        """
        return UnsupportedType(
            self.path, self.type_name, self.reason, experiment=experiment, run=run
        )

    def __reduce__(self) -> tuple[object, ...]:
        args = (self.path, self.type_name, self.reason, self.experiment, self.run)
        return _unsupported, args


def _unsupported(
    path: str, type_name: str, reason: str, experiment: str | None, run: str | None
) -> UnsupportedType:
    return UnsupportedType(path, type_name, reason, experiment=experiment, run=run)


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Runs that failed in the same way: at the same line, with the same type of error.

    Attributes:
        count: Number of runs.
        error_type: Type of the error, such as ``ValueError``; None if nothing was raised.
        message: Last line of the traceback of one of the runs, or what ended its worker.
        place: Line of the user's code that raised, as ``study.py:12 in train``; empty if unknown.
        examples: Descriptions of the first few of these runs, by their params.
        text: Step, the user's own frames with their source, and the error of the first run.
    """

    count: int
    error_type: str | None
    message: str
    place: str
    examples: tuple[str, ...]
    text: str

    @property
    def line(self) -> str:
        """Runs, error and line of code in one line, without frames."""
        return f"{self._runs()}: {self.message}" + (f" ({self.place})" if self.place else "")

    def __str__(self) -> str:
        return f"{self._runs()}\n{self.text}"

    def _runs(self) -> str:
        if self.count == 1:
            return f"run {self.examples[0]}"
        return f"{self.count:,} runs, such as {'; '.join(self.examples)}"


class RunsFailed(MltraqError):
    """Steps raised in some runs; a traceback shows `details` below the line of the message.

    Args:
        experiment: Name of the experiment.
        failed: Number of runs that failed.
        total: Number of runs that were to be executed.
        failures: Description and traceback of the first few failed runs.
        groups: The failures by distinct error, the most frequent first.
        not_executed: Number of runs that were left pending because too many had failed.

    Attributes:
        experiment (str): As given.
        failed, total, not_executed (int): As given.
        failures (list[tuple[str, str]]): As given.
        groups (list[FailureGroup]): As given.
    """

    SHOWN = 3
    GROUPS_SHOWN = 10

    def __init__(
        self,
        experiment: str,
        failed: int,
        total: int,
        failures: Sequence[tuple[str, str]],
        groups: Sequence[FailureGroup] = (),
        not_executed: int = 0,
    ) -> None:
        self.experiment = experiment
        self.failed = failed
        self.total = total
        self.failures = list(failures)
        self.groups = list(groups)
        self.not_executed = not_executed
        super().__init__(experiment, failed, total, self.failures, self.groups, not_executed)
        self.add_note(self.details)

    def __repr__(self) -> str:
        return f"RunsFailed({self.experiment!r}, {self.failed} of {self.total})"

    @property
    def summary(self) -> str:
        """Counts of runs and of distinct errors, each with the message of one run, in one line."""
        kinds = [
            f"{group.count:,} x {shortened(group.message)}"
            + (f" ({group.place})" if group.place else "")
            for group in self.groups[: self.GROUPS_SHOWN]
        ]
        if left := self.groups[self.GROUPS_SHOWN :]:
            kinds.append(f"{len(left):,} other errors")
        return ": ".join([self._counts(), *([", ".join(kinds)] if kinds else [])])

    def __str__(self) -> str:
        return self.summary

    @property
    def details(self) -> str:
        """The failures by distinct error, with the frames of the user's own code."""
        shown = [(group.count, str(group)) for group in self.groups[: self.GROUPS_SHOWN]]
        shown = shown or [(1, f"{run}\n{error}") for run, error in self.failures[: self.SHOWN]]
        parts = ["The results of the others are kept.", *(text for _, text in shown)]
        if left := max(0, self.failed - sum(count for count, _ in shown)):
            parts.append(f"... and {left:,} more runs.")
        return "\n\n".join(part.rstrip() for part in parts)

    def _render_traceback_(self) -> list[str]:
        return users_traceback(self)

    def _counts(self) -> str:
        text = f"experiment {self.experiment!r}: {self.failed} of {self.total} runs failed"
        if not self.not_executed:
            return text
        return f"{text}, and then {self.not_executed} were not executed"


class RunsMissing(MltraqError):
    """An execution has ended, and some of its runs have neither completed nor failed.

    The results of all other runs are kept. The task runner or its cluster has lost the missing
    ones.

    Args:
        experiment: Name of the experiment.
        missing: Number of runs without an outcome.
        total: Number of runs that were to be executed.
        example: Description of one of the missing runs.

    Attributes:
        experiment (str): As given.
        missing (int): As given.
        total (int): As given.
        example (str): As given.
    """

    def __init__(self, experiment: str, missing: int, total: int, example: str) -> None:
        self.experiment = experiment
        self.missing = missing
        self.total = total
        self.example = example
        super().__init__(experiment, missing, total, example)

    def __str__(self) -> str:
        return (
            f"experiment {self.experiment!r}: nothing came back of {self.missing:,} of "
            f"{self.total:,} runs, such as {self.example}; whoever executed them (the task runner, "
            "a cluster) has lost them. What has ended is kept: execute the same steps again"
        )


class StoreError(MltraqError):
    """The database cannot do what was asked; it is as it was before."""


class ExperimentExists(StoreError):
    """An experiment of this name is in the database already."""


class ExperimentNotFound(StoreError, LookupError):
    """No experiment of this name is in the database."""


class FieldNotFound(StoreError, LookupError):
    """No run of the experiment has this field."""


class ForeignTable(StoreError):
    """A table has the name of one of ours, but another shape."""


class NewerFormat(StoreError):
    """The database was written by a later version of the package."""


class QueryFailed(StoreError):
    """The database refused a statement of the user."""


class ReadOnlyStore(StoreError):
    """The database cannot be written."""


class StorageFull(StoreError):
    """The disk of the database, or that of files, is full."""


class StorageUnavailable(StoreError):
    """The database cannot be reached."""


class CorruptData(MltraqError, ValueError):
    """Stored bytes that are not what was written.

    Args:
        reason: What is wrong with them.
        experiment: Name of the experiment; None if unknown.
        run: Description of the run; None if unknown.
        field: Key of the field; None if unknown.
        file: Name of the file; None if it is about none.

    Attributes:
        reason (str): As given.
        experiment, run, field, file (str | None): As given.
    """

    def __init__(
        self,
        reason: str,
        *,
        experiment: str | None = None,
        run: str | None = None,
        field: str | None = None,
        file: str | None = None,
    ) -> None:
        self.reason = reason
        self.experiment = experiment
        self.run = run
        self.field = field
        self.file = file
        prefix = _prefix(experiment, run)
        what = f"field {field!r}" if field is not None else "a stored value"
        what = f"file {file!r}" if file is not None else what
        super().__init__(f"{prefix}{what} {self._VERDICT}: {reason}")

    _VERDICT = "is corrupt"

    def within(
        self, experiment: str | None, run: str | None = None, field: str | None = None
    ) -> CorruptData:
        """Return the same error with the names of experiment, run and field.

        Args:
            experiment: Name of the experiment, if it is known.
            run: Description of the run, or None.
            field: Key of the field, or None.
        """
        return type(self)(self.reason, experiment=experiment, run=run, field=field, file=self.file)

    def __reduce__(self) -> tuple[object, ...]:
        own = {name: getattr(self, name) for name in ("experiment", "run", "field", "file")}
        return partial(type(self), **own), (self.reason,)


class UnavailableType(CorruptData):
    """Stored bytes that are what was written, of a type that is not to be had here.

    Where another version of a library is installed, or a codec is registered, they can be read.
    """

    _VERDICT = "cannot be read here"


class UnsupportedVersion(MltraqError):
    """An installed library is of a version with which the package does not work, or is missing.

    Args:
        library: Name of the library in the package index.
        installed: The installed version, or None.
        supported: The supported versions, such as ``>=3.4,<4``.
        beside: Name and version of another library, if those are supported beside it only.

    Attributes:
        library, supported, beside (str), installed (str | None): As given.
    """

    def __init__(
        self, library: str, installed: str | None, supported: str, beside: str = ""
    ) -> None:
        self.library, self.supported, self.beside = library, supported, beside
        self.installed = installed
        super().__init__(library, installed, supported, beside)

    def __str__(self) -> str:
        found = "is not installed" if self.installed is None else f"{self.installed} is installed"
        where = f"beside {self.beside} " if self.beside else ""
        return (
            f"{self.library} {found}, and {where}{self.library}{self.supported} is supported; run: "
            f'python -m pip install "{self.library}{self.supported}"'
        )


class UntrustedPickle(MltraqError):
    """A pickle without a valid signature; nothing of it was unpickled."""


def _prefix(experiment: str | None, run: str | None) -> str:
    parts = [] if experiment is None else [f"experiment {experiment!r}"]
    parts += [] if run is None else [f"run {run}"]
    return ", ".join(parts) + ": " if parts else ""
