"""Values as MLTRAQ keeps them from 0.0.105 on: pickles of plain values, tagged where they are not.

Tags and their values are those of its serializer DATAPAK.
"""

from __future__ import annotations

import io
import math
import urllib.parse
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mltraq_prefect.errors import CorruptData
from mltraq_prefect.exchange.pickled import plain_values

MOST_BYTES = 2**31
"""Of a value, when it is not compressed."""

MOST_DEPTH = 100
MAGIC = {"DATAPAK-0": "-0", "datapak-type-0.0.0": "-0.0.0"}
"""Keys of tagged dicts, and how the tags end."""

_SCALARS = frozenset((type(None), bool, int, float, str, bytes))
_COMPRESSED = (b"C01", b"C1")


class Datapak:
    """Reads values.

    Args:
        folder: Where values are that are kept in files, if that is known.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def value(self, data: bytes, depth: int = 0) -> Any:
        """Return the value of some bytes.

        Raises:
            CorruptData: They are none, or a file that they refer to is not there.
        """
        data = _expanded(bytes(data))
        decoder = _Decoder(self, 16 * len(data) + 1_000)
        try:
            return decoder.decoded(plain_values(data), depth)
        except CorruptData:
            raise
        except (ValueError, TypeError, KeyError, AttributeError):  # a key that cannot be one
            raise CorruptData("a value of MLTRAQ is damaged") from None

    def stored(self, url: str) -> bytes:
        """Return the content of the file that a URL names; it has to be in the folder."""
        parsed = urllib.parse.urlparse(url)
        if self._folder is None or parsed.scheme != "file":
            raise CorruptData("the folder with its files is not known")
        folder = self._folder.resolve()
        file = (folder / parsed.path.lstrip("/")).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise CorruptData("a file that it refers to is not in the folder of the DataStore")
        return file.read_bytes()


class _Decoder:
    """Decodes one value; what refers to a part many times is not larger than it may be."""

    def __init__(self, datapak: Datapak, most: int) -> None:
        self._datapak = datapak
        self._left = most

    def decoded(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MOST_DEPTH:
            raise CorruptData("it refers to its own parts too often")
        type_ = type(value)
        if type_ in (list, tuple, set):
            return type_(self.decoded(item, depth + 1) for item in value)
        if type_ is not dict:
            if type_ not in _SCALARS:
                raise CorruptData("it is not a pickle of plain values")
            return value
        for magic, ending in MAGIC.items():
            if magic in value:
                return self._tagged(str(value[magic]).removesuffix(ending), value["value"], depth)
        return {key: self.decoded(item, depth + 1) for key, item in value.items()}

    def _tagged(self, tag: str, value: Any, depth: int) -> Any:
        if tag in ("mltraq.Bunch", "mltraq.Sequence"):
            return self.decoded(value, depth + 1)
        if tag == "mltraq.DataStore":
            return self._datapak.value(self._datapak.stored(value), depth + 1)
        if tag == "mltraq.ArchiveStore":
            return self._datapak.stored(value)
        if tag not in _MAKERS:
            raise CorruptData(f"it has a part of the unknown type {tag!r:.60}")
        try:
            return _MAKERS[tag](value)
        except Exception:  # what the libraries raise for damaged bytes is not documented
            raise CorruptData(f"a part of type {tag} is damaged") from None


def _expanded(data: bytes) -> bytes:
    for prefix in _COMPRESSED:
        if data.startswith(prefix):
            return inflated(data[len(prefix) :])
    return data


def inflated(data: bytes) -> bytes:
    """Return what zlib has compressed.

    Raises:
        CorruptData: It has not, or it would be too large.
    """
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, MOST_BYTES)
    except zlib.error:
        raise CorruptData("a compressed value is damaged") from None
    if not stream.eof:
        raise CorruptData("a compressed value is damaged, or too large")
    return found


def _array(data: bytes) -> np.ndarray[Any, Any]:
    """Return the array of a file in NPY, NumPy's format."""
    file = io.BytesIO(data)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, in_fortran, dtype = read[np.lib.format.read_magic(file)[0]](file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError("an array is not as large as it says")
    items = np.frombuffer(data, dtype, offset=file.tell()).copy()
    return items.reshape(shape, order="F" if in_fortran else "C")


def _table(data: bytes) -> pa.Table:
    table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
    table.validate(full=True)
    return table


def _series(data: bytes) -> Any:
    frame = _table(data).to_pandas()
    if len(frame.columns) != 1:
        raise ValueError("a series is one column")
    series = frame.iloc[:, 0]
    return series.rename(None) if series.name == "0" else series


_MAKERS: dict[str, Callable[[Any], Any]] = {
    "pandas.DataFrame": lambda value: _table(value).to_pandas(),
    "pandas.Series": _series,
    "pyarrow.Table": _table,
    "numpy.ndarray": _array,
    "numpy.datetime64": lambda value: np.datetime64(int(value), "us"),
    "uuid.UUID": lambda value: uuid.UUID(hex=value),
    "mltraq.Archive": lambda value: bytes(value),
}
