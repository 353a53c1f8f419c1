"""Figures: their axes have round numbers, and nothing that is shown becomes markup."""

import itertools
import math
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import numpy as np
import pytest

from mltraq_prefect.reports.figures.bars import series_line, sparkline, state_bar
from mltraq_prefect.reports.figures.charts import Line, dot_chart, line_chart
from mltraq_prefect.reports.figures.maps import (
    Coordinate,
    colour,
    heat_map,
    parallel_coordinates,
)
from mltraq_prefect.reports.figures.marks import marks
from mltraq_prefect.reports.figures.scales import Scale
from mltraq_prefect.reports.figures.svg import LETTER

HOSTILE = "<script>alert('1')</script>\"&\x00"
NAN = math.nan


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.1, 0.9], ["0.2", "0.4", "0.6", "0.8"]),
        ([0.961, 0.987], ["0.96", "0.97", "0.98"]),
        ([-3, 12], ["0", "5", "10"]),
        ([1e-4, 100], ["0.0001", "0.001", "0.01", "0.1", "1", "10", "100"]),
        ([1, 100], ["1", "2", "5", "10", "20", "50", "100"]),
        ([0, 5e6], ["0", "2e+06", "4e+06"]),
        ([7], ["6.5", "7.0", "7.5"]),
        ([NAN, math.inf], ["0", "0.5", "1.0"]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(values, labels):
    ticks = Scale(values).ticks()
    assert [label for _, label in ticks] == labels
    assert all(0 <= share <= 1 for share, _ in ticks)


@pytest.mark.parametrize(
    ("step", "labels"),
    [
        (timedelta(seconds=5), ["00:00:00", "00:00:05", "00:00:10", "00:00:15", "00:00:20"]),
        (timedelta(hours=6), ["00:00", "06:00", "12:00", "18:00", "00:00"]),
        (timedelta(days=60), ["2026-03", "2026-06", "2026-09"]),
        (timedelta(days=365 * 10), ["2030", "2040", "2050", "2060"]),
    ],
)
def test_ticks_of_times(step, labels):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert [label for _, label in Scale([start, start + 4 * step], "time").ticks()] == labels


EXTREMES = [[-1.7e308, 1.7e308], [0.0, 5e-324], [1e-310, 3e-310], [5e-324, 1.0], [1, 10**400]]


@pytest.mark.parametrize("values", EXTREMES)
def test_any_numbers_have_places(values):
    ticks = Scale(values).ticks()
    assert 0 < len(ticks) < 20
    assert all(0 <= share <= 1 for share, _ in ticks)


def test_few_values_are_ticks_themselves():
    def labels(values):
        return [label for _, label in Scale(values, at_values=True).ticks()]

    assert labels([1, 10]) == ["1", "10"]
    assert labels([0, 1, 2, 1]) == ["0", "1", "2"]
    assert labels([1e-5, 1e-3, 0.1]) == ["1e-05", "0.001", "0.1"]
    assert labels([10, 11, 100]) == [label for _, label in Scale([10, 11, 100]).ticks()]
    assert labels([0.12345678, 0.2]) == [label for _, label in Scale([0.12345678, 0.2]).ticks()]
    assert len(labels(range(20))) < 7


@pytest.mark.parametrize(
    ("low", "high"), [(1e9, 1e9 + 0.034), (-1_000_500, -1_000_000), (1e-5, 1.0001e-5)]
)
def test_ticks_of_numbers_that_differ_little_say_what_is_added(low, high):
    first, *others = [label for _, label in Scale([low, high]).ticks()]
    assert float(first) == pytest.approx(low, rel=0.01)
    added = [float(label) for label in others]
    assert all(label.startswith("+") for label in others)
    assert added == pytest.approx([n * added[0] for n in range(1, len(added) + 1)])
    assert 0 < added[-1] <= 1.2 * (high - low)


def test_any_times_have_places():
    ticks = Scale([datetime.min, datetime.max], "time").ticks()
    assert 0 < len(ticks) < 20


def pictures():
    lines = [Line(HOSTILE, [1, 10, 1000], [1.0, NAN, 2.0], [0.1, NAN, NAN])] * 7
    yield line_chart(lines, HOSTILE, HOSTILE)
    yield line_chart(lines, HOSTILE, HOSTILE, band=True)
    yield line_chart([Line("", [], [], [])], "x", "y")
    yield dot_chart([HOSTILE, "b"], [1.0, NAN], [NAN, NAN], HOSTILE, muted=[True, False], zero=True)
    yield dot_chart([], [], [], "none")
    yield heat_map(np.array([[1.0, NAN]]), [HOSTILE, "b"], [HOSTILE], (HOSTILE,) * 3)
    yield heat_map(np.array([[-1.7e308, 1.7e308]]), ["a", "b"], ["c"], ("x", "y", "z"))
    yield series_line([-1.7e308, 1.7e308, 0.0], 3)
    axes = [
        Coordinate(HOSTILE, "category", [HOSTILE, None, "b"]),
        Coordinate("n", "number", [1e-9, 1, 2]),
    ]
    yield parallel_coordinates(axes, np.array([NAN, 1.0, 2.0]), HOSTILE)
    yield state_bar({HOSTILE: 3, "failed": 0})
    yield state_bar({})
    yield sparkline([1.0, NAN, 3.0])
    yield series_line([1.0, 2.0], 2_000)
    drawn = marks([1.0, NAN, -1e200, 1e-9], [NAN, 1.0, 0.1, 0.0], muted=[True] * 4, zero=True)
    yield from filter(None, [drawn.axis, *drawn.rows])


@pytest.mark.parametrize("svg", list(pictures()))
def test_what_is_shown_is_never_markup(svg):
    root = ElementTree.fromstring(svg.replace("\x00", ""))
    names = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert names <= {"svg", "g", "text", "title", "line", "circle", "path", "rect"}
    assert all(not key.startswith("on") for node in root.iter() for key in node.attrib)
    for node in root.iter():
        numbers = [v for k, v in node.attrib.items() if k in ("x", "y", "cx", "cy", "x1", "d")]
        assert not any("nan" in number for number in numbers)


def test_few_values_make_no_sparkline():
    assert sparkline([]) == sparkline([1.0, NAN]) == ""


def test_dots_of_a_table_are_on_one_scale():
    found = marks([0.9, NAN, 0.8], [0.05, NAN, NAN], muted=[False, False, True])
    best, missing, worst = found.rows
    assert missing == ""
    first, last = (float(re.search(r'cx="([\d.]+)"', own)[1]) for own in (best, worst))
    assert first > last
    assert "0.900 ± 0.050" in best
    assert 'c5"' in worst
    assert ">0.8<" in found.axis
    assert marks([1.0, NAN], [0.1, NAN]) is None
    assert marks([1.0], [0.1], zero=True) is not None


def test_a_map_has_the_numbers_of_all_cells_or_of_none():
    short, mixed = np.full((2, 24), 0.5), np.array([[0.5] * 23 + [0.123]])
    names = ("x", "y", "z")
    labels = [str(place) for place in range(24)]
    assert heat_map(short, labels, ["a", "b"], names).count("cell") == 48
    assert "cell" not in heat_map(mixed, labels, ["a"], names)


def test_colours_go_from_dark_to_light():
    assert (colour(0), colour(1)) == ("#440154", "#fde725")


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        (np.linspace(0.001, 0.6, 200), False),  # as of a dropout that is drawn evenly
        (np.geomspace(1e-5, 0.1, 200), True),  # as of a learning rate that is drawn by logarithms
        (range(1, 101), False),  # steps
        ([1, 25, 50, 100], False),
        ([0.01, 0.1, 1, 10], True),
        ([0.001, 0.1], True),
        ([0, 1000], False),
    ],
)
def test_an_axis_is_logarithmic_where_that_spreads_the_values(values, is_log):
    assert Scale(values).is_log == is_log


def test_labels_of_an_upright_axis_have_room_beside_its_name():
    svg = line_chart([Line("", [1, 2], [0.00015, 0.0003], [NAN, NAN])], "lr", "duration_s")
    at = float(re.search(r'x="([\d.]+)"[^>]*>0.00015<', svg)[1])
    assert at - len("0.00015") * LETTER > 12 + LETTER  # the name has its middle at 12


def test_the_head_of_dots_has_no_labels_over_each_other():
    found = marks([5.1e-5, 5.5e-5, 1.5e-4, 1.18e-3], [NAN, NAN, 9e-5, 4e-4])
    spots = [
        (float(at), len(label) * LETTER / 2)
        for at, label in re.findall(r'x="([\d.]+)"[^>]*>([^<]+)<', found.axis)
    ]
    assert len(spots) > 1
    assert all(
        own + half <= after - other for (own, half), (after, other) in itertools.pairwise(spots)
    )
