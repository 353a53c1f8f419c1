"""Settings of the process: workers have those of the program, and each run finds them so."""

import decimal
import os
import sys
import warnings

import numpy as np

import mltraq_prefect as mltraq
from tests.ways import both_ways

OPTIONS = [{"backend": "local"}, {"n_jobs": 1, "runs_per_task": 4}]
alone = both_ways("options", OPTIONS, with_task_runs=OPTIONS[1:])


def settings():
    import sklearn

    return [
        os.getcwd(),
        os.environ.get("A_VARIABLE"),
        os.environ.get("ANOTHER"),
        list(sys.argv),
        sys.getrecursionlimit(),
        sum(entry[0] == "error" for entry in warnings.filters),
        decimal.getcontext().prec,
        np.geterr()["divide"],
        sklearn.get_config()["assume_finite"],
    ]


@alone
def test_what_a_step_sets_is_not_there_in_the_next_run(options, tmp_path, monkeypatch):
    monkeypatch.setenv("A_VARIABLE", "before")

    def change(run):
        import sklearn

        run.fields.found = settings()
        os.chdir(tmp_path)
        os.environ["A_VARIABLE"] = "after"
        os.environ["ANOTHER"] = "new"
        sys.argv.append("more")
        sys.setrecursionlimit(5000)
        warnings.simplefilter("error")
        decimal.getcontext().prec = 5
        np.seterr(divide="raise")
        sklearn.set_config(assume_finite=True)

    def look(run):
        run.fields.later = settings()

    before = settings()
    experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=range(4))
    experiment.execute([change, look], **options)
    for run in experiment.runs.values():
        assert run.fields.found == run.fields.later == before
    assert settings() == before


@alone
def test_workers_have_the_settings_of_the_program(options, monkeypatch):
    import sklearn

    def look(run):
        run.fields.found = settings()

    monkeypatch.setattr(sys, "argv", ["sweep.py", "17"])
    monkeypatch.setenv("A_VARIABLE", "before")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 100)
    context = decimal.localcontext(prec=7)
    with warnings.catch_warnings(), np.errstate(divide="ignore"), context:
        warnings.simplefilter("error", BytesWarning)
        with sklearn.config_context(assume_finite=True):
            expected = settings()
            experiment = mltraq.create_session("sqlite://").add_experiment("e").add_runs(N=[1])
            experiment.execute(look, **options)
    sys.setrecursionlimit(limit)
    assert experiment.runs.first().fields.found == expected
