"""Params come back exactly, or as text that names them, or are refused; JSON of them is bounded."""

import dataclasses
import enum
import fractions
import functools
import json
import pathlib
import threading

import numpy as np
import pytest

import mltraq_prefect as mltraq
from mltraq_prefect.errors import UnsupportedType
from mltraq_prefect.model.namespace import Namespace
from tests.contract.records import assert_same_runs, make_record, make_run

LONG = "/data/" + "deep/" * 40


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Options:
    text: str
    rate: float = 0.5


EXACT = {
    "path": [pathlib.Path(LONG + "a"), pathlib.Path(LONG + "b")],
    "fraction": [fractions.Fraction(1, 3), fractions.Fraction(2, 3)],
    "bytes": [b"a" * 1000 + b"b", b"a" * 1000 + b"c"],
    "array": [np.arange(2000.0), np.arange(2000.0) + 1],
    "tuple": [(1, LONG), (2, LONG)],
    "namespace": [{"a": {"b": (1,)}}, {"a": {"b": (2,)}}],
    "text": [LONG + "a", LONG + "b"],
}

NAMED = {
    "class": ([Colour, Options], "tests.contract.test_params.Colour"),
    "function": ([np.mean, np.median], "numpy.mean"),
    "member": ([Colour.RED, Colour.BLUE], "tests.contract.test_params.Colour.RED"),
    "partial": (
        [functools.partial(Options, text=LONG, rate=rate) for rate in (0.1, 0.2)],
        f"tests.contract.test_params.Options(text={LONG!r}, rate=0.1)",
    ),
    "dataclass": ([Options(LONG + "a"), Options(LONG + "b")], None),
    "lambda": ([lambda: 1, lambda: 2], None),
    "in a list": ([[Options, 1], [Options, 2]], None),
}


@pytest.mark.parametrize("kind", EXACT)
def test_params_come_back_exactly(store, kind):
    runs = [make_run(i, params={"p": value, "n": i}) for i, value in enumerate(EXACT[kind])]
    store.write(make_record(runs=runs), "fail")
    assert_same_runs(store.read("coin toss").runs, runs)
    assert store.write(store.read("coin toss"), "merge").changed is False


@pytest.mark.parametrize("kind", NAMED)
def test_params_without_a_codec_are_named_and_never_cut(store, kind):
    values, expected = NAMED[kind]
    store.write(
        make_record(runs=[make_run(i, params={"p": v}) for i, v in enumerate(values)]), "fail"
    )
    first, second = (run.params["p"] for run in store.read("coin toss").runs)
    assert type(first) is type(second) is str
    assert first != second
    assert expected is None or first == expected


@pytest.mark.parametrize("value", [threading.Lock(), [threading.Lock()], (x for x in ())])
def test_what_nothing_names_is_refused_by_run_and_param(url, value):
    with mltraq.create_session(url) as session:
        experiment = session.add_experiment("locks", note=1)
        experiment.add_run(n=1)
        experiment.add_run(n=2, lock=value)
        with pytest.raises(UnsupportedType, match=r"experiment 'locks', run n=2.*params\.lock"):
            experiment.persist()
        assert session.ls().empty


@pytest.mark.parametrize(
    "value",
    [
        b"x" * 3_000_000,
        [b"x" * 3_000_000],
        {b"x" * 3_000_000},
        np.array(b"x" * 3_000_000),
        [b"x" * 1000] * 3000,
        ["y" * 3_000_000],
        tuple(range(500_000)),
    ],
    ids=["bytes", "list", "set", "array", "many", "text", "tuple"],
)
def test_json_is_no_copy_of_large_values(store, value):
    run = make_run(0, params={"p": value if type(value) is not list else (*value,), "n": 1})
    record = make_record(runs=[run], fields={"f": value, "n": 1})
    store.write(record, "fail")
    (_, [(fields,)]) = store.query("SELECT fields FROM experiments")
    (_, [(params,)]) = store.query("SELECT params FROM experiment_runs")
    for text in (fields, params):
        assert len(text) < 1000
        assert json.loads(text)["n"] == 1
    found = store.read("coin toss")
    assert_same_runs(found.runs, [run])
    assert type(found.fields["f"]) is type(value)
    assert np.array_equal(found.fields["f"], value) or found.fields["f"] == value


def test_params_are_a_dict_that_fields_take(store):
    run = make_run(0, params={"n": 1, "tree": {"a": (1, 2)}})
    run.fields["p"] = run.params
    run.fields["nested"] = [{"p": Namespace(a=1)}]
    store.write(make_record(runs=[run]), "fail")
    found = store.read("coin toss").runs[0].fields
    assert found["p"] == {"n": 1, "tree": {"a": (1, 2)}}
    assert type(found["p"]) is type(found["nested"][0]["p"]) is dict
    assert store.write(make_record(runs=[run]), "merge").changed is False


def test_the_cells_of_paths_and_fractions_are_natural(store):
    run = make_run(0, path=pathlib.Path(LONG), ratio=fractions.Fraction(1, 4))
    store.write(make_record(runs=[run]), "fail")
    rows = store.query("SELECT path, ratio FROM {e}", names={"e": "coin toss"})[1]
    assert rows == [(str(pathlib.Path(LONG)), 0.25)]
    assert_same_runs(store.read("coin toss").runs, [run])
