"""Event and Markdown artifact after a persist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from mltraq_prefect.orchestration.events import Persisted, emit_persisted
from mltraq_prefect.orchestration.flow_run_names import name_flow_run
from mltraq_prefect.orchestration.late_flow_run import is_known
from mltraq_prefect.orchestration.links import results_page
from mltraq_prefect.orchestration.prefect_compat import current_flow_run
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
    _name_flow_run(written.experiment)
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


def link_report(experiment: str, table: str, link: str) -> None:
    """Lead from the current flow run to a report.

    Args:
        experiment: Name of the experiment.
        table: Name of the table of its runs.
        link: Where the report is.
    """
    key, text = f"report-{artifact_key(table)}", f"Report on {experiment}"
    create_link_artifact(link, link_text=text, key=key, description=text)


def _name_flow_run(experiment: str) -> None:
    flow_run = current_flow_run()
    if flow_run is None or not is_known(flow_run):
        return

    def name() -> None:
        try:
            with get_client(sync_client=True) as client:
                name_flow_run(client, flow_run.id, experiment)
        except Exception as error:
            get_run_logger().debug("the flow run was not named: %s", _line(error))

    tell(name, "name")


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
