"""An execution with one failure, for the bar: ``python -m tests.execution.shown``."""

import mltraq_prefect as mltraq


def step(run):
    run.fields.x = 1 / (run.params.N - 7)


if __name__ == "__main__":
    experiment = mltraq.create_session().add_experiment("bar").add_runs(N=range(2_000))
    experiment.execute(step, on_error="keep")
