"""Checks before an experiment is persisted."""

from __future__ import annotations

from collections.abc import Sequence

from mltraq_prefect.arguments import check_flags, flag_or_names
from mltraq_prefect.checkpoints.content import Content
from mltraq_prefect.checkpoints.stored_state import StoredState
from mltraq_prefect.errors import InvalidInput
from mltraq_prefect.model.hints import unknown_name
from mltraq_prefect.reports.overview import keys_of


def check_persist(
    if_exists: object, store_pickle: object, report: object, on_error: object
) -> bool | list[str]:
    """Refuse invalid options of `persist`; return `report`, whose names may come only once.

    Raises:
        InvalidInput: An option is invalid.
    """
    if if_exists not in ("fail", "replace", "merge"):
        raise InvalidInput(f'if_exists is {if_exists!r}; use "fail", "replace" or "merge"')
    if on_error not in ("raise", "keep"):
        raise InvalidInput(f'on_error is {on_error!r}; use "raise" or "keep"')
    check_flags(store_pickle=store_pickle)
    return flag_or_names("report", report)


def check_report(report: Sequence[str], experiment: Content, state: StoredState) -> None:
    """Refuse fields of a report that no run has; failed runs may lack any field.

    Raises:
        InvalidInput: No run has one of the fields.
    """
    runs = [run for run in experiment.runs.values() if not state.has_alone(run)]
    missing = [key for key in report if not any(key in run.fields for run in runs)]
    if not missing or not runs or any(run.ledger.state == "failed" for run in runs):
        return
    known = [*keys_of(run.fields for run in runs), *state.store.keys(experiment.name)]
    if (unknown := unknown_name(missing, known)) is not None:
        raise InvalidInput(f"report: experiment {experiment.name!r} has no field {unknown}")
