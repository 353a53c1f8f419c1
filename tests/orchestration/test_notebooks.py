"""A notebook that is executed for real, and what is below its cells."""

import json
import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = [
    """
    import logging
    import warnings
    import mltraq_prefect as mltraq

    warnings.simplefilter("always")
    OFFSET = 10

    class Scale:
        def __call__(self, value):
            return 2 * value

    def helper(value):
        return Scale()(value) + OFFSET
    """,
    """
    def step(run):
        print("printed", run.params.N)
        logging.getLogger("of the user").info("logged %s", run.params.N)
        run.fields.x = helper(run.params.N)

    experiment = mltraq.create_session("sqlite:///study.db").add_experiment("e")
    experiment.add_runs(N=range(6)).execute(step, checkpoint=True).runs.df()["x"].tolist()
    """,
    """
    OFFSET = 20
    experiment.execute(step, checkpoint=True)
    """,
    """
    def bad(run):
        if run.params.N == 3:
            raise ValueError("three is bad")

    experiment.execute(bad)
    """,
]


@pytest.fixture(scope="module", params=["prefect", "plain"])
def outputs(request, prefect_settings, tmp_path_factory):
    """What is below each cell."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(_dedent(cell)) for cell in CELLS]
    client = NotebookClient(
        notebook,
        timeout=300,
        startup_timeout=300,
        kernel_name="python3",
        allow_errors=True,
        coalesce_streams=True,  # as the page of a notebook does
    )
    settings = {
        "PREFECT_API_URL": prefect_settings.api.url if request.param == "prefect" else "",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PYTHONPATH": os.getcwd(),
    }
    client.execute(cwd=str(tmp_path_factory.mktemp("notebook")), env=os.environ | settings)
    return [cell.outputs for cell in notebook.cells]


def _dedent(cell):
    return cell.replace("\n    ", "\n").strip()


def text(cell, kind="stream"):
    return "".join(output.text for output in cell if output.output_type == kind)


def test_a_cell_has_one_bar_and_one_text_of_log_lines(outputs):
    cell = outputs[1]
    (bar,) = (output for output in cell if output.output_type == "display_data")
    assert "6 of 6 runs completed" in bar.data["text/plain"]
    assert '<progress value="6" max="6">' in bar.data["text/html"]
    for n in range(6):
        assert f"printed {n}\n" in text(cell)
        assert f"logged {n}\n" in text(cell)
    kinds = [output.output_type for output in cell]
    assert sorted(kinds) == ["display_data", "execute_result", "stream"]


def test_what_cells_define_is_executed_and_a_change_is_noticed(outputs):
    (result,) = (output for output in outputs[1] if output.output_type == "execute_result")
    assert json.loads(result.data["text/plain"]) == [10, 12, 14, 16, 18, 20]
    (error,) = (output for output in outputs[2] if output.output_type == "error")
    assert error.ename == "InvalidInput"
    assert "OFFSET" in error.evalue


def test_a_failure_is_told_with_its_place_in_the_cell(outputs):
    (error,) = (output for output in outputs[3] if output.output_type == "error")
    assert error.ename == "RunsFailed"
    assert error.evalue.startswith(
        "experiment 'e': 1 of 6 runs failed: 1 x ValueError: three is bad ("
    )
    assert error.evalue.endswith(" in bad)")
    shown = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    assert 'raise ValueError("three is bad")' in shown
    assert "experiment.execute(bad)" in shown
    assert "mltraq_prefect/" not in shown


def test_nothing_is_left_unawaited(outputs):
    assert not [line for cell in outputs for line in text(cell).splitlines() if "Warning" in line]
