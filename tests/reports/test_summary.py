"""What a summary says: groups, means and their errors, in text and as a picture."""

import math
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from mltraq_prefect.orchestration.artifacts import artifact_key
from mltraq_prefect.reports import plots
from mltraq_prefect.reports.groups import compared, find_axes, group, means, views
from mltraq_prefect.reports.numbers import Numbers, StateTotal
from mltraq_prefect.reports.summary import (
    code,
    duration,
    escaped,
    main_fields,
    measured,
    numeric_fields,
    summary,
)

SLOTS = [str(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)) for hour in range(6)]


def numbers(params, **fields):
    values = {key: np.array(column, dtype=float) for key, column in fields.items()}
    states = {"completed": StateTotal(len(params), 3.0, 0.5)}
    return Numbers("e_x", "SELECT 1", states, params, values)


def kinds(axes):
    return {axis.name: axis.kind for axis in axes}


def test_axes_are_the_params_that_vary():
    params = [
        {"n": n, "slot": slot, "model": model, "fixed": 1}
        for n in (1, 10)
        for slot in SLOTS
        for model in ("b", "a")
    ]
    axes = find_axes(params)
    assert kinds(axes) == {"n": "number", "slot": "time", "model": "category"}
    assert axes[2].labels == ["b", "a"]
    assert [axis.name for axis in compared(axes)] == ["n", "model"]


def test_replicates_are_averaged_over_unless_nothing_else_varies():
    params = [{"seed": seed} for seed in range(3)]
    assert [axis.name for axis in compared(find_axes(params))] == ["seed"]
    params = [{"seed": seed, "x": x} for seed in range(3) for x in (1, 2)]
    assert [axis.name for axis in compared(find_axes(params))] == ["x"]


def test_params_that_some_runs_lack_and_mixed_values_are_categories():
    axes = find_axes([{"a": 1}, {"a": "one"}, {}, {"a": None}, {"a": [1, 2]}, {"a": True}])
    assert kinds(axes) == {"a": "category"}
    assert axes[0].labels == ["1", "one", "null", "[1, 2]", "true"]


def test_means_are_those_of_the_definition():
    params = [{"x": x, "seed": seed} for x in (2, 1) for seed in range(5)]
    values = np.array([1.0, 2, 3, 4, math.nan, 7, math.nan, math.nan, math.nan, math.nan])
    groups = group(compared(find_axes(params)), len(params))
    found = means(values, groups)
    assert groups.labels(0) == ["1"]
    assert list(found.mean) == [7.0, 2.5]
    assert math.isnan(found.error[0])
    assert found.error[1] == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
    assert list(found.count) == [1, 4]


def test_equal_values_have_no_error():
    found = numbers([{"x": x, "seed": seed} for x in (1, 2) for seed in range(3)], y=[0.1] * 6)
    assert "| 1 | 3 | 0.1 |\n| 2 | 3 | 0.1 |" in summary("x", found, ["y"], None)


@pytest.mark.filterwarnings("error")
def test_values_without_a_finite_mean_have_no_error():
    params = [{"x": x, "seed": seed} for x in (1, 2, 3) for seed in range(2)]
    found = numbers(params, y=[math.inf, 1, math.inf, -math.inf, 1e308, 1e308])
    text = summary("x", found, ["y"], None)
    assert "| 1 | 2 | inf |\n| 2 | 2 | nan |\n| 3 | 2 | inf |" in text


def test_many_numbers_are_put_in_bins_of_equal_counts():
    params = [{"x": float(x), "y": x * 7919 % 10_007 / 3} for x in range(10_000)]
    axes = find_axes(params)
    assert kinds(axes) == {"x": "bins", "y": "bins"}
    by_x, by_y = views(axes, len(params))
    assert len(by_x.sizes) == 20
    assert by_x.sizes.min() >= 499
    assert by_x.sizes.sum() == by_y.sizes.sum() == 10_000
    assert by_x.labels(0) == ["0 to 500"]
    assert by_x.labels(19) == ["9499 to 9999"]


def test_huge_numbers_are_put_in_bins_too():
    values = [-1e308, 1e308, *range(100), *[7] * 100]
    (axis,) = find_axes([{"x": x} for x in values])
    assert (axis.labels[0], axis.labels[-1]) == ("-1e+308 to 7", "90 to 1e+308")
    assert np.bincount(axis.places).min() > 0


def test_the_summary_of_four_runs():
    found = numbers([{"N": n} for n in (1, 25)], error=[0.3, 0.06])
    text = summary("coin_toss", found, ["error"], None)
    assert text.startswith("# coin\\_toss\n")
    assert "| `e_x` | 2 | completed | 3 s | 1.5 s | 500 ms |" in text
    assert "| 1 | 1 | 0.3 |\n| 25 | 1 | 0.06 |" in text
    assert "```sql\nSELECT 1\n```" in text


def test_the_summary_shows_errors_to_their_digits_and_counts_where_values_are_missing():
    params = [{"x": x, "seed": seed} for x in (1, 2) for seed in range(4)]
    text = summary("x", numbers(params, y=[1, 2, 3, 4, 1, 2, 3, math.nan]), ["y"], None)
    assert "| 1 | 4 | 2.50 ± 0.65 |" in text
    assert "| 2 | 4 | 2.00 ± 0.58 (3) |" in text


def test_wide_and_long_experiments_stay_readable():
    params = [{"name": f"p{place}"} for place in range(300)]
    fields = {f"f{place}": range(300) for place in range(13)}
    text = summary("x", numbers(params, **fields), list(fields), None)
    assert max(line.count("|") for line in text.splitlines()) <= 9
    assert "The first 50 of 300 groups." in text
    assert len(text) < 60_000


def test_too_many_runs_have_counts_only():
    states = {"completed": StateTotal(10**6, 1e5, 2.0)}
    text = summary("x", Numbers("e_x", "SELECT 1", states, complete=False), [], None)
    assert "1,000,000" in text
    assert "ask the database" in text


def test_a_summary_is_bounded_whatever_the_experiment():
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    params = [{"slot": str(begin + timedelta(hours=hour))} for hour in range(3_000)]
    fields = {f"{'long name ' * 12} {place}": range(3_000) for place in range(300)}
    found = numbers(params, **fields)
    text = summary("x", found, list(fields), None)
    assert len(text.encode()) < 200_000
    assert "Further tables are left out" in text
    few = summary("x", found, list(fields)[:2], None)
    assert "The last 50 of 3,000 groups." in few
    assert str(begin + timedelta(hours=2_999))[:16] in few
    svg = plots.draw(found, plots.panels(found, list(fields)[:2]))
    assert len(svg) < 90_000


def test_hostile_names_do_not_break_the_tables():
    name = "a|b`c<script>_*[x](y)\n#"
    assert escaped(name) == "a\\|b\\`c&lt;script>\\_\\*\\[x\\](y) \\#"
    assert code(name).count("`") == 2
    text = summary(name, numbers([{name: name}, {name: "2"}], **{name: [1, 2]}), [name], None)
    assert "<script>" not in text.replace("`a\\|b'c<script>_*[x](y) #`", "")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {4, 7}


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (0.0627248, 0.000497, "0.06272 ± 0.00050"),
        (1234.5, 12.3, "1234 ± 12"),
        (5.0, 0.0, "5"),
        (0.25, math.nan, "0.25"),
        (1e-12, 1e-13, "1e-12 ± 1e-13"),
        (math.inf, math.nan, "inf"),
    ],
)
def test_numbers_for_a_person(mean, error, text):
    assert measured(mean, error) == text


def test_durations_for_a_person():
    found = [duration(s) for s in (0.0123, 5, 300, 10_000)]
    assert found == ["12.3 ms", "5 s", "5 min", "2.78 h"]


def test_pictures_show_fields_that_vary_and_repeat_no_param():
    found = numbers([{"n": n} for n in (1, 2)], n=[1, 2], k=[9, 9], count=[3, 4], error=[0.5, 0.4])
    assert numeric_fields(found, None) == ["n", "k", "count", "error"]
    assert numeric_fields(found, ["error", "unknown"]) == ["error"]
    assert main_fields(found, ["n", "k", "count", "error"], 3) == ["error", "count"]


def test_a_time_makes_a_panel_of_its_own():
    params = [{"N": n, "slot": slot} for slot in SLOTS for n in (1, 25, 50, 100)]
    by_n, over_time = plots.panels(numbers(params, e=range(24)), ["e"])
    assert (by_n.x.name, by_n.series) == ("N", None)
    assert (over_time.x.name, over_time.series.name) == ("slot", "N")


def drawn(found, fields):
    svg = plots.draw(found, plots.panels(found, fields))
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    return svg


def test_a_picture_of_numbers_has_error_bars_and_a_logarithmic_scale():
    params = [{"N": n, "seed": seed} for n in (1, 25, 50, 100) for seed in range(5)]
    svg = drawn(numbers(params, e=np.random.default_rng(0).random(20)), ["e"])
    assert "LineCollection" in svg
    assert "<!-- 20 -->" in svg
    assert "<!-- 80 -->" not in svg


def test_a_picture_of_categories_has_bars_with_their_values():
    params = [{"model": model, "seed": seed} for model in ("ridge", "lasso") for seed in range(3)]
    svg = drawn(numbers(params, score=[1, 2, 3, 4, 5, 6]), ["score"])
    assert all(f"<!-- {text} -->" in svg for text in ("ridge", "lasso", "score", "2", "5"))


@pytest.mark.parametrize("runs", [1, 2, 4, 10_000, 100_000])
def test_pictures_stay_small_for_many_runs(runs):
    random = np.random.default_rng(0)
    params = [
        {"x": float(x), "kind": f"k{place % 3}"} for place, x in enumerate(random.random(runs))
    ]
    found = numbers(params, y=random.random(runs))
    panels = plots.panels(found, ["y"])
    assert not panels or len(plots.draw(found, panels)) < 200_000


def test_values_that_cannot_be_drawn_do_no_harm():
    found = numbers([{"x": x} for x in (1, 2, 3)], y=[math.inf, math.nan, -1], z=[math.nan] * 3)
    drawn(found, ["y", "z"])


def test_artifact_keys_are_allowed_and_one_a_table():
    assert artifact_key("e_coin_toss") == "mltraq-coin-toss"
    assert re.fullmatch("[a-z0-9-]+", artifact_key("e_a_b_x0123456789ab"))
