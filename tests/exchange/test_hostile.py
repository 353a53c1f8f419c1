"""Bytes of MLTRAQ's databases that somebody has made up, or damaged."""

import contextlib
import io
import pickle
import random
import zlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.exchange import pyson
from mltraq_prefect.exchange.datapak import Datapak

MAGIC = "DATAPAK-0"


def packed(value):
    return pickle.dumps(value, protocol=5)


def tagged(tag, value):
    return packed({MAGIC: f"{tag}-0", "value": value})


def feather(value):
    file = io.BytesIO()
    pa.feather.write_feather(value, file, compression="uncompressed")
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


PLAIN = {
    "a": [1, 2.5, None, True, "x" * 300, b"y" * 300, 2**40, -(2**70), -5],
    "b": {(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ()},
    "c": {1: {}, "d": []},
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values(protocol):
    data = pickle.dumps(PLAIN, protocol=protocol)
    if protocol < 4:  # sets are made by a call
        with pytest.raises(CorruptData, match="it would GLOBAL"):
            Datapak().value(data)
    else:
        assert Datapak().value(data) == PLAIN
        assert Datapak().value(b"C01" + zlib.compress(data)) == PLAIN


class Program:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it was executed')",))


def shared(levels):
    value = []
    for _ in range(levels):
        value = [value, value]
    return value


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def itself():
    value = []
    value.append(value)
    return value


def of_npy(header):
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HOSTILE = {
    "program": packed(Program()),
    "function": packed(len),
    "class": packed(np.float64(1.0)),
    "many": packed(shared(40)),
    "endless": packed(itself()),
    "deep": packed(deep(200)),
    "nothing": b"",
    "text": b"no pickle",
    "mark": b"\x80\x05(.",
    "underflow": b"\x80\x05\x87.",
    "memo": b"\x80\x05j\xff\xff\xff\xff.",
    "long": b"\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "unknown tag": tagged("os.system", "x"),
    "no value": packed({MAGIC: "uuid.UUID-0"}),
    "no uuid": tagged("uuid.UUID", "x"),
    "no array": tagged("numpy.ndarray", b"x"),
    "object array": tagged("numpy.ndarray", npy(np.array([1]))[:-8].replace(b"<i8", b"|O ")),
    "large array": tagged(
        "numpy.ndarray", of_npy({"descr": "<f8", "fortran_order": False, "shape": (2**60,)})
    ),
    "negative array": tagged(
        "numpy.ndarray", of_npy({"descr": "<f8", "fortran_order": False, "shape": (-1,)})
    ),
    "no table": tagged("pandas.DataFrame", b"ARROW1"),
    "two series": tagged("pandas.Series", feather(pd.DataFrame({"x": [1], "y": [2]}))),
    "no file": tagged("mltraq.DataStore", "file:///a/b"),
    "zlib": b"C01" + zlib.compress(b"x" * 100)[:-6],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_value(name):
    with pytest.raises(CorruptData):
        Datapak().value(HOSTILE[name])


def test_files_outside_of_the_folder(tmp_path):
    (tmp_path / "secret").write_bytes(packed("secret"))
    (folder := tmp_path / "store").mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "own").write_bytes(packed({"x": 1}))
    reader = Datapak(folder)
    assert reader.value(tagged("mltraq.DataStore", "file:///own")) == {"x": 1}
    for url in ("file:///../secret", "file:///link", "http://own", f"file:///{tmp_path}/secret"):
        with pytest.raises(CorruptData):
            reader.value(tagged("mltraq.DataStore", url))
    (folder / "loop").write_bytes(tagged("mltraq.DataStore", "file:///loop"))
    with pytest.raises(CorruptData):
        reader.value(tagged("mltraq.DataStore", "file:///loop"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"x\x9cgarbage",
        b'{"mltraq-type-0.0": "unknown"}',
        b'{"mltraq-type-0.0": "uuid.UUID-0.0", "data": 5}',
        b'{"mltraq-type-0.0": "numpy.ndarray-0.0", "data": [{}]}',
        b'{"PYJSON-type-0.0": "pandas.DataFrame-0.0", "data": {"x": [1]}, "index": [0, 1]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_json(data):
    with pytest.raises(CorruptData):
        pyson.value(data)


def test_damaged_bytes_do_no_harm():
    rng = random.Random(0)
    frame = pd.DataFrame({"x": [1.0, 2.0], "t": ["a", "b"]})
    values = [
        packed(PLAIN),
        tagged("numpy.ndarray", npy(np.arange(5))),
        tagged("pandas.DataFrame", feather(frame)),
        tagged("pandas.Series", feather(frame[["x"]])),
        tagged("mltraq.Sequence", {MAGIC: "pandas.DataFrame-0", "value": feather(frame)}),
    ]
    for data in values:
        assert Datapak().value(data) is not None
        for _ in range(200):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            end = rng.choice([len(data), rng.randrange(len(data))])
            with contextlib.suppress(CorruptData):
                Datapak().value(bytes(damaged[:end]))
