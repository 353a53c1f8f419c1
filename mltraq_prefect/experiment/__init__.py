"""An experiment: a named set of runs with fields of its own."""

from mltraq_prefect.experiment.experiment import Experiment, IfExists

__all__ = ["Experiment", "IfExists"]
