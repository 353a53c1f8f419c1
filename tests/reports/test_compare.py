"""Comparisons of groups: numbers of textbooks and of R, what chance makes of them, bad input."""

import math

import numpy as np
import pandas as pd
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.reports.comparison.differences import paired_t, welch_t
from mltraq_prefect.reports.comparison.predictions import Predicted, accuracy, bootstrap, mcnemar
from mltraq_prefect.reports.comparison.ranks import rank_sum, signed_rank
from mltraq_prefect.reports.comparison.table import COLUMNS, holm

SLEEP = pd.DataFrame(
    {
        "extra": [
            *(0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0),
            *(1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4),
        ],
        "group": [1] * 10 + [2] * 10,
        "ID": [*range(10)] * 2,
    }
)
"""R's data set of Student's: hours of sleep gained with two drugs."""

DEPRESSION = (
    [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30],
    [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29],
)
PERMEABILITY = (
    [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46],
    [1.15, 0.88, 0.90, 0.74, 1.21],
)
"""Hollander and Wolfe, Nonparametric statistical methods, examples 3.1 and 4.1; in R's manual."""


def numbers(found):
    columns = ["effect", "ci_low", "ci_high", "p"]
    return found.loc[0, columns].astype(float).tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pair_on": "ID"}, [-1.58, -2.4598858, -0.7001142, 0.002833]),
        ({}, [-1.58, -3.3654832, 0.2054832, 0.07939]),
        ({"pair_on": "ID", "test": "wilcoxon"}, [-1.4, -2.95, -1.05, 0.009091]),
        ({"test": "wilcoxon"}, [-1.35, -3.6, 0.1, 0.06933]),
    ],
    ids=["paired t", "Welch", "signed rank", "rank sum"],
)
def test_sleep_as_in_r(options, expected):
    found = mltraq.compare(SLEEP, "extra", "group", baseline=2, **options)
    assert found.columns.tolist() == COLUMNS
    assert found.loc[0, ["group", "baseline", "n", "baseline_n"]].tolist() == [1, 2, 10, 10]
    assert found.loc[0, ["value", "baseline_value"]].tolist() == pytest.approx([0.75, 2.33])
    assert numbers(found) == pytest.approx(expected, rel=2e-4)
    flipped = mltraq.compare(SLEEP, "extra", "group", baseline=1, **options)
    assert flipped["effect"].tolist() == pytest.approx([-expected[0]])


@pytest.mark.parametrize(
    ("test", "samples", "expected"),
    [
        (signed_rank, DEPRESSION, [0.46, 0.010, 0.786, 0.0390625]),
        (rank_sum, PERMEABILITY, [0.305, -0.15, 0.76, 0.2544]),
    ],
)
def test_exact_ranks_as_in_r(test, samples, expected):
    found = test(*map(np.array, samples), 0.95)
    assert [found.effect, found.low, found.high, found.p] == pytest.approx(expected, abs=5e-4)


def test_mcnemar_as_in_a_textbook():
    """Agresti, Categorical data analysis, section 10.1: approval of a prime minister, twice."""
    counts = {(1, 1): 794, (1, 0): 150, (0, 1): 86, (0, 0): 570}
    first, second = np.repeat(np.array(list(counts)), list(counts.values()), axis=0).T
    found = mcnemar(Predicted(np.ones_like(first), second, first, (1600,)), 0.95)
    assert found.effect == pytest.approx(-0.04)
    assert found.standard_error == pytest.approx(0.0095, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((-0.06, -0.02), abs=2e-3)
    assert found.p == pytest.approx(3.716e-05, rel=1e-3)
    same = mcnemar(Predicted(first, first, first, (1600,)), 0.95)
    assert (same.effect, same.p) == (0, 1)


def test_holm_as_in_r():
    assert holm(np.array([0.04, 0.01, 0.03, 0.02])).tolist() == [0.06, 0.04, 0.06, 0.06]
    assert holm(np.array([0.5, 0.9])).tolist() == [1, 1]


def share(found, least, most=1.0, error=3.0):
    """Whether a share lies within Monte Carlo error of a range."""
    rate = np.mean(found)
    margin = error * math.sqrt(least * (1 - least) / len(found))
    return least - margin <= rate <= most + margin


def test_intervals_cover_what_is_true():
    rng = np.random.default_rng(1)
    covers = {test: [] for test in ("paired", "welch", "signed", "ranks", "mcnemar", "bootstrap")}
    for place in range(1_000):
        common, noise = rng.normal(size=12), rng.normal(size=(2, 12))
        found = {"paired": paired_t(common + noise[0] + 0.5, common + noise[1], 0.95)}
        found["welch"] = welch_t(3 * noise[0] + 0.5, noise[1][:5], 0.95)
        if place < 250:
            found["signed"] = signed_rank(common + noise[0] + 0.5, common + noise[1], 0.95)
            found["ranks"] = rank_sum(noise[0] + 0.5, noise[1][:7], 0.95)
            truth, right = np.ones(80), rng.random((3, 80)) < [[0.6], [0.8], [0.7]]
            one, other = right[0] | right[1], right[0] | right[2]  # 0.92 and 0.88
            said = Predicted(truth, one, other, (50, 30))
            found["mcnemar"] = mcnemar(said, 0.95)
            if place < 150:
                found["bootstrap"] = bootstrap(said, accuracy, 0.95, seed=place, resamples=300)
        for test, one in found.items():
            effect = 0.04 if test in ("mcnemar", "bootstrap") else 0.5
            covers[test].append(one.low <= effect <= one.high)
    assert share(covers["paired"], 0.95, 0.95)
    assert share(covers["welch"], 0.95, 0.95)
    assert all(share(covers[test], 0.95, 0.99) for test in ("signed", "ranks", "mcnemar"))
    assert share(covers["bootstrap"], 0.92)  # percentiles are a bit narrow for 80 samples


def test_false_alarms_are_rare_among_many_groups():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame([(g, k) for g in "abcd" for k in range(8)], columns=["g", "k"])
    alarms = []
    for _ in range(200):
        frame["y"] = rng.normal(size=32) + np.tile(rng.normal(size=8), 4)
        found = mltraq.compare(frame, "y", by="g", pair_on="k")
        assert len(found) == 6
        alarms.append(found["p_holm"].min() <= 0.05)
    assert np.mean(alarms) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_pairs_of_any_order_and_runs_without_partner(caplog):
    shuffled = SLEEP.sample(frac=1, random_state=1)
    for column in ("ID", ["ID"], iter(["ID"])):
        found = mltraq.compare(shuffled, "extra", iter(["group"]), pair_on=column)
        assert abs(found.loc[0, "effect"]) == pytest.approx(1.58)
        assert found.loc[0, "test"] == "paired t"
    found = mltraq.compare(SLEEP.drop([0, 11, 12]), "extra", "group", pair_on="ID")
    assert found.loc[0, ["n", "dropped"]].tolist() == [7, 3]
    assert "left out for want of a partner: 3 rows, in 1 of 1 comparison;" in caplog.text


def test_several_columns_make_groups():
    frame = SLEEP.assign(site=["x", "y"] * 10)
    by = ["group", "site"]
    found = mltraq.compare(frame, "extra", by, baseline=(1, "x"))
    assert found["group"].tolist() == [(1, "y"), (2, "x"), (2, "y")]
    named = mltraq.compare(frame, "extra", by, baseline={"site": "x", "group": 1})
    pd.testing.assert_frame_equal(found, named)
    listed = SLEEP.assign(layers=[[64], [32, 16]] * 10)  # values that cannot be hashed
    assert mltraq.compare(listed, "extra", "layers").loc[0, "group"] == [32, 16]


def tracked(session, name, lift=0.0):
    experiment = session.add_experiment(name).add_runs(model=["a", "b"], fold=range(6))

    def train(run):
        run.fields.y = run.rng.normal() + lift
        run.fields.said = np.arange(20) % (2 + run.params.fold)
        run.fields.truth = np.zeros(20)

    return experiment.execute(train, backend="local")


def test_experiments_are_compared_by_field_and_param(session):
    one, two = tracked(session, "one"), tracked(session, "two", lift=5.0)
    found = mltraq.compare(one, "y", by="model", pair_on="fold")
    frame = one.runs.df().assign(model=[run.params.model for run in one.runs.values()])
    assert found.loc[0, "effect"] == pytest.approx(
        -np.subtract(*frame.groupby("model")["y"].mean())
    )
    across = mltraq.compare([one, two], "y", pair_on=["model", "fold"])
    assert across.loc[0, ["group", "baseline", "n"]].tolist() == ["two", "one", 12]
    assert across.loc[0, "effect"] > 3
    named = mltraq.compare({"x": one, "y": two}, "y", ["experiment", "model"], pair_on="fold")
    assert len(named) == 6
    slow = mltraq.compare([one, two], "duration_s")
    assert slow.loc[0, "test"] == "Welch t"
    predicted = mltraq.compare(one, "said", "model", pair_on="fold", target="truth")
    assert predicted.loc[0, ["n", "effect", "p", "test"]].tolist() == [120, 0, 1, "McNemar"]


def test_predictions():
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 300)
    said = [np.where(rng.random(300) < right, truth, 1 - truth) for right in (0.95, 0.8)]
    frame = pd.DataFrame({"model": ["a", "b"], "said": said})
    exact = mltraq.compare(frame, "said", "model", target=truth, baseline="b")
    drawn = mltraq.compare(frame, "said", "model", target=truth, baseline="b", test="bootstrap")
    for column in ("effect", "standard_error", "ci_low", "ci_high"):
        assert drawn.loc[0, column] == pytest.approx(exact.loc[0, column], rel=0.12)
    assert exact.loc[0, "value"] == np.mean(said[0] == truth)
    again = mltraq.compare(frame, "said", "model", target=truth, score=accuracy, baseline="b")
    pd.testing.assert_frame_equal(again, drawn)


FRAME = pd.DataFrame({"model": list("aabbcc"), "fold": [0, 1] * 3, "y": [1.0, 2, 3, 5, 3, 8]})
ARRAYS = pd.DataFrame({"model": list("ab"), "said": [np.zeros(3), np.ones(4)], "t": [[1], [2]]})


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (FRAME, {"metric": "z"}, r"no column 'z'; known: 'model', 'fold', 'y'"),
        (FRAME, {"pair_on": ["flod"]}, r"'flod'; did you mean 'fold'\?"),
        (FRAME, {"by": None}, "give by="),
        (FRAME, {"baseline": "d"}, "baseline 'd'; there are model=a; model=b; model=c"),
        (FRAME[:2], {}, "one group, model=a"),
        (FRAME[:0], {}, "no rows"),
        (FRAME[:3], {}, "there is one run of model=b"),
        (FRAME[1:4], {"pair_on": "fold"}, "there is one pair of model=b and model=a"),
        (
            FRAME.assign(fold=range(6)),
            {"pair_on": "fold"},
            r"model=b and model=a have no pair: .* 4",
        ),
        (FRAME.assign(fold=0), {"pair_on": "fold"}, "2 rows of model=a have fold=0"),
        (
            FRAME.assign(y=[math.nan] * 2 + [1.0] * 4),
            {},
            "no 'y' that is finite in 2 of 6 rows.*nan_policy",
        ),
        (FRAME.assign(y=[math.inf, *"?????"]), {}, "'y' has values of type str"),
        (
            FRAME.assign(y=[None] * 6),
            {"nan_policy": "omit"},
            "no 'y' that is finite in 6 of 6 rows",
        ),
        (
            FRAME.assign(y=[1, 2, 1.1, 2.1, 0, 0]),
            {"pair_on": "fold"},
            "the same amount in all 2",
        ),
        (FRAME.assign(y=1.0), {}, "the same in all runs of a group, for model=b and model=a"),
        (FRAME.assign(y=1.0), {"test": "wilcoxon"}, "the same in all runs"),
        (FRAME, {"test": "z"}, "test is 'z'; give one of None, 't', 'wilcoxon'"),
        (FRAME, {"confidence": 95}, "confidence is 95"),
        (FRAME, {"test": "mcnemar"}, "needs target="),
        (FRAME, {"test": "t", "target": "y"}, "compares numbers, without target="),
        (FRAME, {"score": max}, "score= is for predictions"),
        (FRAME, {"pair_on": "model"}, "'model' is given twice"),
        (FRAME, {"target": "y"}, "model=b has 2 runs, and model=a 2: give pair_on="),
        (ARRAYS, {"metric": "said", "target": [1, 2, 3]}, "has 4 'said' for 3 samples"),
        (ARRAYS, {"metric": "said", "target": "t"}, "have different values of 't'"),
        (ARRAYS.assign(said=b"?"), {"metric": "said", "target": [1, 2]}, "is stored bytes"),
        (5, {}, "given a int"),
        ([], {}, "neither frames nor experiments"),
        ([FRAME], {}, "frames have no names"),
        (FRAME.rename(columns={"fold": 7}), {"pair_on": "7"}, "'7'; known: 'model', 7, 'y'"),
        (FRAME.set_axis(["model", "y", "y"], axis=1), {}, "two columns 'y'; rename one"),
        ({"a": 5}, {}, "'a' is a int, no frame and no experiment"),
        (FRAME.iloc[np.repeat(0, 300)].assign(model=range(300)), {}, "44,850 comparisons"),
    ],
)
def test_what_is_refused(frame, options, message):
    arguments = {"metric": "y", "by": "model"} | options
    with pytest.raises(mltraq.InvalidInput, match=message):
        mltraq.compare(frame, **arguments)


def test_runs_without_the_metric_are_left_out_on_demand(caplog):
    frame = FRAME.assign(y=[1.0, 2, 3, None, 3, 8], fold=[0, 1] * 3)
    frame = pd.concat([frame, FRAME.assign(fold=[2, 3] * 3)])
    found = mltraq.compare(frame, "y", "model", baseline="a", nan_policy="omit")
    assert found[["n", "baseline_n"]].to_numpy().tolist() == [[3, 4], [4, 4]]
    assert "no 'y' that is finite in 1 of 12 rows" in caplog.text


def test_a_score_that_is_undefined_and_predictions_of_another_shape_are_refused():
    truth = np.array([1] + [0] * 19)
    frame = pd.DataFrame({"model": ["a", "b"], "said": [truth, 1 - truth]})

    def recall(targets, predictions):
        return predictions[targets == 1].mean() if (targets == 1).any() else math.nan

    with pytest.raises(mltraq.InvalidInput, match="no finite number in"):
        mltraq.compare(frame, "said", "model", target=truth, score=recall)
    frame["said"] = [truth.reshape(-1, 1)] * 2
    with pytest.raises(mltraq.InvalidInput, match=r"shape \(20, 1\)"):
        mltraq.compare(frame, "said", "model", target=truth)


def test_columns_whose_names_are_no_text():
    found = mltraq.compare(FRAME.rename(columns={"fold": 7}), "y", "model", pair_on=[7])
    pd.testing.assert_frame_equal(found, mltraq.compare(FRAME, "y", "model", pair_on="fold"))


def test_categories_that_no_row_has_and_tiny_numbers():
    frame = SLEEP.assign(extra=SLEEP["extra"] * 1e-120)
    categories = ["none", 2, "no", 1]
    frame["group"] = pd.Categorical(SLEEP["group"], categories)
    found = mltraq.compare(frame, "extra", "group")
    assert found[["group", "baseline"]].to_numpy().tolist() == [[2, 1]]
    assert found.loc[0, "p"] == pytest.approx(0.07939, rel=2e-4)


def test_two_experiments_of_one_name_are_refused(session):
    one = tracked(session, "one")
    with pytest.raises(mltraq.InvalidInput, match="two experiments are called 'one'"):
        mltraq.compare([one, one], "y")


def test_a_missing_scipy_is_one_sentence(monkeypatch):
    import importlib.util

    from mltraq_prefect import requirements

    requirements.check_installed.cache_clear()
    monkeypatch.setattr(requirements, "installed", lambda library: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(mltraq.UnsupportedVersion, match=r"scipy is not installed.*pip install"):
        mltraq.compare(FRAME, "y", "model")
    requirements.check_installed.cache_clear()


def test_runs_are_compared_as_their_experiment_is(session):
    experiment = session.add_experiment("x").add_runs(model=["a", "b"], fold=range(3))
    for number, run in enumerate(experiment.runs.values()):
        run.fields.y = float(number**2)
    found = mltraq.compare(experiment.runs, "y", "model", pair_on="fold")
    pd.testing.assert_frame_equal(found, mltraq.compare(experiment, "y", "model", pair_on="fold"))
    with pytest.raises(mltraq.InvalidInput, match="known: 'y', 'model', 'fold', 'state'"):
        mltraq.compare(experiment.runs, "z", "model")
