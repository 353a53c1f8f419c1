"""Ids of runs are stored: what had one keeps it, and different params have different ones."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import itertools
import pathlib
import re
import threading
import uuid
import zoneinfo

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mltraq_prefect as mltraq
from mltraq_prefect.codecs import buffers
from mltraq_prefect.model.identity import Ids, canonical


class Whole(enum.IntEnum):
    A = 1


class Word(enum.StrEnum):
    A = "a"


class Color(enum.Enum):
    RED = 1
    BLUE = 2


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass(frozen=True)
class Options:
    rate: float
    depth: int = 3


@dataclasses.dataclass(slots=True)
class Slotted:
    rate: float


class Settings(pydantic.BaseModel):
    rate: float = 1.0


class Plain:
    def __init__(self, value):
        self.value = value


PINNED = [
    (None, "5e8c6fd8-1498-5931-91d6-0e1094a1ff80"),
    (True, "6ec561a4-de6c-5971-b054-fa9f52485549"),
    (3, "b3292d9d-70ea-5238-ad99-3b5788b6249c"),
    (0.1, "82b4ed91-9305-5234-a535-b1a2089b551a"),
    (float("nan"), "c5cc68c3-8a77-5643-8d97-2634dc44485e"),
    ("é\ud800", "33fa1cfb-3480-579f-b985-a70d8b08b452"),
    (2**70, "03bc74d1-da43-557c-b0b4-df4af8999d3c"),
    (1 + 2j, "8d938b6e-4e92-5aa6-9926-9f6e2a316662"),
    (b"\x00a", "a3df3ba4-1310-5fdf-8ad6-460686a759a9"),
    ([1, (2,)], "40421df9-0934-5be9-bec3-12da1849e7cc"),
    ({1, 2, "a"}, "d0c127b4-9622-5438-9bd4-8784f945d92d"),
    ({"b": 1, "a": [2]}, "c2e0a13d-3dc9-593f-9b5c-7c364c2d0d42"),
    (dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "910ee737-2f9c-578c-a83c-6348965a4623"),
    (dt.date(2020, 1, 2), "92cc2c35-99a8-5e06-bba3-14f69331e0e8"),
    (dt.time(1, 2), "70b705a4-4818-53e5-812c-e036bd9a5262"),
    (dt.timedelta(days=1.5), "2e06b513-c292-5b77-807f-a1d281c41aa0"),
    (decimal.Decimal("1.10"), "598241a6-4c15-5a0a-a096-00081fc13ab6"),
    (uuid.UUID(int=5), "2c9b7449-fbc1-5e97-a1bf-a741902499af"),
    (np.int64(3), "b3292d9d-70ea-5238-ad99-3b5788b6249c"),
    (np.float32(0.1), "e205590e-6264-5003-9a89-8444931ab729"),
    (np.str_("a\0"), "5ca041fa-1dbe-588b-8342-ef5bb4678cc2"),
    (np.bytes_(b"a\0"), "0cbd6af1-8869-56fd-8082-6ab2d11a657f"),
    (np.bool_(True), "6ec561a4-de6c-5971-b054-fa9f52485549"),
    (np.datetime64("2020-01-01"), "4e864439-ab6f-5598-807c-925f657d884c"),
    (np.datetime64("2020-01-01", "ns"), "50253ae6-7f2d-5118-ab23-3ebac148a493"),
    (np.longdouble("0.1"), "6394e407-492f-59c5-b71a-0ff7a4ac8fa6"),
    (np.complex64(1 + 2j), "8d938b6e-4e92-5aa6-9926-9f6e2a316662"),
    (pd.Timestamp("2020-01-01", tz="UTC"), "85bb94d5-c35a-516e-89c6-c7b83bb633d5"),
    (pd.Timedelta("1s"), "32cd322d-f54d-5943-b692-662f01231a87"),
    (pd.NaT, "2289702f-8b72-51e3-a669-e9cf9021cec8"),
    (Whole.A, "831be6c7-53ed-545d-aac4-15720bb39921"),
    (Word.A, "91ca3f0f-3011-523a-862f-da233c928e97"),
    (Pair(1, 2), "db85ffd3-fe07-586b-bfe2-a21bfecb5ff9"),
    (functools.reduce, "a479b698-d2dc-5458-a63a-61c55b298fd1"),
    (collections.OrderedDict, "60e4fcc6-9eaf-5eed-8a7b-c3d1b805a726"),
    (functools.partial(int, "3", base=4), "b8eeb79e-babd-5012-8b0c-687c0a85bf41"),
    (np.sin, "9bbcb5d2-474d-5a45-955c-c4c0d8183ce5"),
    (collections.OrderedDict(a=1), "aff6bb4d-945b-5221-a601-e4ff6a903e86"),
]


@pytest.mark.parametrize(("value", "id_run"), PINNED, ids=itertools.count())
def test_ids_that_were_given_stay(value, id_run):
    experiment = mltraq.create_session().add_experiment("pins")
    assert experiment.add_run(x=value).id_run == id_run


def pipeline(alpha):
    return make_pipeline(StandardScaler(), Ridge(alpha))


def bound(value):
    return Plain(value).__init__


def closure(value):
    return lambda x: x + value


def local_class(value):
    class Local:
        rate = value

    return Local


DIFFERENT = {
    "path": (pathlib.Path("mon.csv"), pathlib.Path("tue.csv")),
    "kind of path": (pathlib.Path("a"), pathlib.PureWindowsPath("a")),
    "path and text": (pathlib.Path("a"), "a"),
    "member": (Color.RED, Color.BLUE),
    "dataclass": (Options(0.1), Options(0.2)),
    "dataclass with slots": (Slotted(0.1), Slotted(0.2)),
    "model": (Settings(rate=1), Settings(rate=2)),
    "range": (range(3), range(4)),
    "slice": (slice(1), slice(2)),
    "pattern": (re.compile("a"), re.compile("a", re.I)),
    "fraction": (fractions.Fraction(1, 2), fractions.Fraction(1, 3)),
    "zone": (zoneinfo.ZoneInfo("Europe/Rome"), zoneinfo.ZoneInfo("Asia/Tokyo")),
    "offset": (dt.UTC, dt.timezone(dt.timedelta(hours=1))),
    "dtype": (np.dtype("f4"), np.dtype("f8")),
    "fields of a dtype": (np.dtype([("a", "f4")]), np.dtype([("b", "f4")])),
    "array": (np.array([1, 2]), np.array([1, 3])),
    "dtype of an array": (np.array([1, 2]), np.array([1.0, 2.0])),
    "shape of an array": (np.zeros((2, 3)), np.zeros((3, 2))),
    "array of objects": (np.array(["a", None]), np.array(["b", None])),
    "frame": (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
    "series": (pd.Series([1]), pd.Series([1], index=[5])),
    "lambda": (lambda x: x, lambda x: x + 1),
    "closure": (closure(1), closure(2)),
    "class in a function": (local_class(1), local_class(2)),
    "partial": (functools.partial(max, Options(1)), functools.partial(max, Options(2))),
    "bound method": (bound(1), bound(2)),
    "estimator": (Ridge(1.0), Ridge(100.0)),
    "pipeline": (pipeline(1.0), pipeline(100.0)),
    "fitted": (Ridge(1.0), Ridge(1.0).fit([[1], [2]], [1, 2])),
    "object": (Plain(1), Plain(2)),
    "object in a list": ([Plain(1)], [Plain(2)]),
    "queue": (collections.deque([1]), collections.deque([2])),
    "counter of draws": (np.random.default_rng(1), np.random.default_rng(2)),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_different_values_are_different_runs_wherever_they_stand(pair):
    def ids(values):
        experiment = mltraq.create_session().add_experiment("e").add_runs(x=values)
        return list(experiment.runs)

    first, second = ids(pair)
    assert first != second
    assert ids([pair[1]]) == [second]
    assert ids([3, *pair]) == [*ids([3]), first, second]


def test_equal_values_are_one_run():
    def values():
        return [
            pathlib.Path("a/b"), Options(0.1), Slotted(0.1), Settings(), re.compile("a"),
            np.arange(6).reshape(2, 3), pd.DataFrame({"a": [1]}), closure(1), pipeline(1.0),
            Plain({"b": 1, "a": {3, 1}}), Color.RED, np.dtype("f8"), local_class(1),
        ]  # fmt: skip

    first = mltraq.create_session().add_experiment("e").add_runs(x=values())
    second = mltraq.create_session().add_experiment("e").add_runs(x=values()[::-1])
    assert list(first.runs) == list(second.runs)[::-1]


def test_the_layout_of_an_array_in_memory_does_not_count():
    square = np.arange(6).reshape(2, 3)
    fortran, strided = np.asfortranarray(square), np.repeat(square, 2, axis=1)[:, ::2]
    assert canonical(square) == canonical(fortran) == canonical(strided)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.builds(Options, st.floats(), st.integers())
    | st.builds(lambda parts: pathlib.PurePosixPath(*parts), st.lists(st.text("ab/", min_size=1)))
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 9))
    | st.sampled_from([*Color, *Whole, *Word, np.float32, len, dt.UTC]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.builds(Plain, inner)
    ),
    max_leaves=12,
)


@given(values)
def test_a_value_has_one_form_however_it_came_about(value):
    import cloudpickle

    again = cloudpickle.loads(cloudpickle.dumps(value))
    assert canonical(value, buffers) == canonical(again, buffers)
    assert canonical([value], buffers) != canonical([[value]], buffers)


@given(st.dictionaries(st.text(), st.integers()))
def test_the_order_of_a_dict_does_not_count(value):
    assert canonical(value) == canonical(dict(reversed(value.items())))


def test_replicates_differ():
    ids = Ids("e").all(canonical({"N": 1}))
    assert len({next(ids), next(ids), next(ids)}) == 3


# -- in a database ---------------------------------------------------------------------------------


def test_merging_another_file_adds_a_run(tmp_path):
    session = mltraq.create_session()
    for day in ("mon.csv", "tue.csv"):
        experiment = session.add_experiment("days").add_runs(file=[pathlib.Path(day)])
        experiment.execute(lambda run: run.fields.update(day=run.params.file.stem), backend="local")
        experiment.persist("merge")
    loaded = session.load("days")
    assert sorted(run.fields.day for run in loaded.runs.values()) == ["mon", "tue"]


def test_a_point_inserted_into_a_grid_shifts_no_result():
    session = mltraq.create_session()

    def execute(rates):
        experiment = session.add_experiment("grid").add_runs(o=[Options(rate) for rate in rates])
        experiment.execute(
            lambda run: run.fields.update(rate=run.params.o.rate), backend="local", checkpoint=True
        )
        return [(run.params.o.rate, run.fields.rate) for run in experiment.runs.values()]

    execute([0.1, 0.3])
    assert execute([0.1, 0.2, 0.3]) == [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)]


def test_an_estimator_of_other_settings_is_executed():
    session = mltraq.create_session()
    for alpha in (1.0, 100.0):
        experiment = session.add_experiment("ridge").add_runs(model=[Ridge(alpha)])
        experiment.execute(
            lambda run: run.fields.update(alpha=run.params.model.alpha),
            backend="local",
            checkpoint=True,
        )
        assert experiment.runs.first().fields.alpha == alpha


REFUSED = r"experiment 'locks', run lock=.*: nothing identifies param 'lock' .*cannot pickle"


def locks(session):
    return session.add_experiment("locks").add_runs(lock=[threading.Lock()])


@pytest.mark.parametrize(
    "write",
    [
        lambda session: locks(session).persist("merge"),
        lambda session: session.persist(locks(session), "merge"),
        lambda session: locks(session).execute(print, backend="local", checkpoint=True),
    ],
    ids=["merge", "merge into a session", "checkpoint"],
)
def test_what_nothing_identifies_is_refused_where_ids_matter(write):
    session = mltraq.create_session()
    with pytest.raises(mltraq.InvalidInput, match=REFUSED):
        write(session)
    assert session.ls().empty


def test_what_nothing_identifies_may_be_a_param_where_nothing_is_written():
    experiment = locks(mltraq.create_session())
    experiment.execute(
        lambda run: run.fields.update(held=run.params.lock.locked()), backend="local"
    )
    assert experiment.runs.first().fields.held is False


def test_times_that_python_has_no_type_for_are_not_their_counts():
    times = [
        *(np.timedelta64(1, unit) for unit in ("Y", "M", "ns", "ps", "generic")),
        *(np.timedelta64("NaT"), np.datetime64("NaT"), None, 1),
        *(np.datetime64(1, unit) for unit in ("ps", "fs")),
    ]
    assert len({canonical(value) for value in times}) == len(times)
    assert canonical(np.timedelta64("NaT", "s")) == canonical(np.timedelta64("NaT", "ns"))
