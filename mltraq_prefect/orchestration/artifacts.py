"""Event and Markdown artifact after a persist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from mltraq_prefect.orchestration.events import Persisted, emit_persisted
from mltraq_prefect.orchestration.links import results_page
from mltraq_prefect.orchestration.telling import tell
from mltraq_prefect.reports.study.results import Results
from mltraq_prefect.reports.study.study import Choice, Study
from mltraq_prefect.reports.summary import summary

MOST_RUNS, LEAST_RUNS, A_WRITTEN_RUN = 100_000, 2_000, 4
"""A summary is of the last runs of an experiment: at most, at least, and for each that was written.

So it costs what the write costs, and not more with each day.
"""

Report = bool | Sequence[str]


def announce(written: Persisted, read: Callable[[int], Results], report: Report) -> None:
    """Report to Prefect that an experiment was written; errors are logged, never raised.

    Args:
        written: What was committed.
        read: Reads the results of the experiment: of so many runs at most, the last ones.
        report: Whether to make the summary, or the fields to show in it.
    """
    logger = get_run_logger()
    logger.info(
        "experiment %r: wrote %s runs to table %s, revision %s",
        written.experiment,
        f"{written.runs:,}",
        written.table,
        written.revision,
    )
    try:
        emit_persisted(written)
    except Exception as error:
        logger.warning("the event of this persist was not sent: %s", _line(error))
    if report is False:
        return
    try:
        shown = None if isinstance(report, bool) else tuple(report)
        study = Study(read(_most_runs(written)), Choice(shown=shown))
        markdown = summary(study, results_page(written.table))
    except Exception as error:
        logger.warning("no summary of experiment %r: %s", written.experiment, _line(error))
        return

    def create() -> None:
        try:
            create_markdown_artifact(
                markdown, key=artifact_key(written.table), description=_description(written)
            )
        except Exception as error:
            logger.warning("no summary of experiment %r: %s", written.experiment, _line(error))

    tell(create, "summary")


def _most_runs(written: Persisted) -> int:
    return min(MOST_RUNS, max(LEAST_RUNS, A_WRITTEN_RUN * written.runs))


def artifact_key(table: str) -> str:
    """Return the artifact key of an experiment's summary, in the characters that are allowed."""
    return "mltraq-" + table.removeprefix("e_").replace("_", "-")


def progress_key(table: str) -> str:
    """Return the artifact key of an experiment's progress."""
    return f"progress-{artifact_key(table)}"


def _description(written: Persisted) -> str:
    steps = ", ".join(written.steps) or "fields"
    return f"Experiment {written.experiment}, revision {written.revision}: wrote {steps}"


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"
