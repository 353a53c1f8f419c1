"""Curves of a running sweep: the means are those of what was logged, in a bounded memory."""

import numpy as np
import pytest

from mltraq_prefect import Run
from mltraq_prefect.model.series import MISSING, LoggedRows, Rows
from mltraq_prefect.reports.live_curves import MOST_KEYS, MOST_STEPS, LiveCurves


def lines_of(curves):
    return {
        key: {label: own.line(label) for label, own in groups.items()}
        for key, groups in curves._sums.items()
    }


def logged(run, first, steps, **columns):
    return LoggedRows(run.id_run, "train", Rows(first, steps, [0] * len(steps), columns))


def test_means_and_errors_are_those_of_what_was_logged_in_bins_of_steps():
    runs = [Run(params={"x": x}) for x in range(3)]
    curves, rng = LiveCurves(runs), np.random.default_rng(0)
    values = 1e6 + rng.normal(size=(3, 1_000))
    for start in range(0, 1_000, 50):
        for run, own in zip(runs, values, strict=True):
            part = own[start : start + 50].tolist()
            curves.add([logged(run, start, [None] * 50, loss=part)])
    (line,) = lines_of(curves)["loss"].values()
    width = 8
    assert list(line.x) == list(range(0, 1_000, width))
    assert len(line.x) <= MOST_STEPS
    bins = values.reshape(3, -1, width).transpose(1, 0, 2).reshape(125, -1)
    assert line.y == pytest.approx(bins.mean(axis=1), abs=1e-6)
    errors = bins.std(axis=1, ddof=1) / np.sqrt(bins.shape[1])
    assert line.error == pytest.approx(errors, rel=1e-4)


def test_data_sets_are_not_averaged():
    runs = [Run(params={"dataset": name, "seed": n}) for n in (0, 1) for name in ("iris", "wine")]
    curves = LiveCurves(runs)
    for place, run in enumerate(runs):
        curves.add([logged(run, 0, [0, 1], loss=[float(place), 1.0])])
    lines = lines_of(curves)["loss"]
    assert {label: line.y[0] for label, line in lines.items()} == {
        "dataset=iris": 1.0,
        "dataset=wine": 2.0,
    }
    ((key, svg),) = curves.figures()
    assert key == "loss"
    assert "dataset=wine" in svg


def test_what_is_no_number_is_left_out_and_keys_are_few():
    run = Run(params={"x": 1})
    curves = LiveCurves([run])
    odd = ["12", None, MISSING, float("nan"), float("inf"), 10**400, 1j, np.float32(0.5), True]
    curves.add([logged(run, 0, [-1, *range(len(odd))], odd=[5.0, *odd], text=["a"] * 10)])
    (line,) = lines_of(curves)["odd"].values()
    assert (list(line.x), list(line.y)) == ([7, 8], [0.5, 1.0])
    curves.add([logged(run, 0, [2**62], **{f"k{n}": [1.0] for n in range(20)})])
    assert len(curves.figures()) == MOST_KEYS
    assert LiveCurves([]).figures() == []
