"""Experiments in plain SQL tables, orchestrated by Prefect.

>>> import mltraq_prefect as mltraq
>>> session = mltraq.create_session()
>>> experiment = session.add_experiment("squares")
>>> runs = experiment.add_runs(x=[1, 2, 3])
"""

from mltraq_prefect import stop as stop
from mltraq_prefect.codecs import register_codec
from mltraq_prefect.errors import (
    CorruptData,
    ExperimentExists,
    ExperimentNotFound,
    FailureGroup,
    FieldNotFound,
    ForeignTable,
    InvalidGrid,
    InvalidInput,
    InvalidName,
    InvalidStep,
    MltraqError,
    NewerFormat,
    QueryFailed,
    ReadOnlyStore,
    RunsFailed,
    RunsMissing,
    StorageFull,
    StorageUnavailable,
    StoreError,
    UnavailableType,
    UnsupportedType,
    UnsupportedVersion,
    UntrustedPickle,
)
from mltraq_prefect.experiment import Experiment
from mltraq_prefect.model.ledger_entry import LedgerEntry, StepEntry
from mltraq_prefect.model.namespace import Namespace
from mltraq_prefect.model.run import Run
from mltraq_prefect.model.runs import Runs
from mltraq_prefect.opening import create_session
from mltraq_prefect.reports.comparison.compare import compare
from mltraq_prefect.reports.provenance.diff import Difference, diff
from mltraq_prefect.reports.provenance.execution import Execution
from mltraq_prefect.session import Session
from mltraq_prefect.stop import StopRun
from mltraq_prefect.version import __version__ as __version__

__all__ = [
    "CorruptData",
    "Difference",
    "Execution",
    "Experiment",
    "ExperimentExists",
    "ExperimentNotFound",
    "FailureGroup",
    "FieldNotFound",
    "ForeignTable",
    "InvalidGrid",
    "InvalidInput",
    "InvalidName",
    "InvalidStep",
    "LedgerEntry",
    "MltraqError",
    "Namespace",
    "NewerFormat",
    "QueryFailed",
    "ReadOnlyStore",
    "Run",
    "Runs",
    "RunsFailed",
    "RunsMissing",
    "Session",
    "StepEntry",
    "StopRun",
    "StorageFull",
    "StorageUnavailable",
    "StoreError",
    "UnavailableType",
    "UnsupportedType",
    "UnsupportedVersion",
    "UntrustedPickle",
    "compare",
    "create_session",
    "diff",
    "register_codec",
]


def __getattr__(name: str) -> object:
    """Import what needs Prefect when it is asked for: `ExperimentStore`, its block type."""
    if name == "ExperimentStore":
        from mltraq_prefect.orchestration.api import ExperimentStore

        return ExperimentStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List that too, for `prefect block register` goes by it."""
    return [*globals(), "ExperimentStore"]
