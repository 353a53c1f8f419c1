"""Experiments as files that other programs read, and tables of others as experiments."""

from mltraq_prefect.tabular.exports import export_all, export_experiment
from mltraq_prefect.tabular.imports import rows_of

__all__ = ["export_all", "export_experiment", "rows_of"]
