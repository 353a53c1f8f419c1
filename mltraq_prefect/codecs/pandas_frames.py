"""Codecs of pandas indexes, series and frames. A frame is kept column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mltraq_prefect.codecs.numpy_codec import read_array, write_array
from mltraq_prefect.codecs.pandas_arrays import (
    read_column,
    read_freq,
    read_index,
    write_column,
    write_freq,
)
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import (
    FormatError,
    Node,
    RefusalError,
    expect,
    register,
    unpack,
)
from mltraq_prefect.codecs.writer import Writer


def _write_range(value: pd.RangeIndex, writer: Writer) -> Node:
    name = writer.child(value, value.name, ".name")
    return {"$pd.RangeIndex": [value.start, value.stop, value.step, name]}


def _read_range(argument: Node, reader: Reader) -> pd.RangeIndex:
    start, stop, step, name = unpack(argument, int, int, int, None)
    return pd.RangeIndex(start, stop, step, name=reader.part(name))


def _write_multi(value: Any, writer: Writer) -> Node:
    """Levels, codes, order of sorting."""
    levels = writer.nodes(value, value.levels, lambda _, i: f".levels[{i}]")
    codes = [write_array(np.asarray(codes)) for codes in value.codes]
    return {"$pd.MultiIndex": [levels, codes, value.sortorder]}


def _read_multi(argument: Node, reader: Reader) -> Any:
    nodes, code_nodes, sortorder = unpack(argument, list, list, None)
    levels = [read_index(node, reader) for node in nodes]
    codes = [read_array(node, reader) for node in code_nodes]
    if sortorder is not None:
        expect(sortorder, int)
    names = [level.name for level in levels]
    kind: Any = pd.MultiIndex
    return kind(levels=levels, codes=codes, sortorder=sortorder, names=names)


def _write_index(value: Any, writer: Writer) -> Node:
    """Values, name, frequency; the dtype of the values decides the kind of index."""
    values = write_column(value, writer)
    name = writer.child(value, value.name, ".name")
    dated = isinstance(value, (pd.DatetimeIndex, pd.TimedeltaIndex))
    return {"$pd.Index": [values, name, write_freq(value.freq) if dated else None]}


def _read_index(argument: Node, reader: Reader) -> Any:
    node, name_node, freq_node = unpack(argument, dict, None, None)
    values = read_column(node, reader)
    name, freq = reader.part(name_node), read_freq(freq_node)
    if freq is None:
        return pd.Index(values, dtype=values.dtype, name=name, copy=False)
    kind = pd.TimedeltaIndex if values.dtype.kind == "m" else pd.DatetimeIndex
    return kind(values, freq=freq, name=name, copy=False)


def _write_series(value: pd.Series[Any], writer: Writer) -> Node:
    values = write_column(value, writer)
    index = writer.child(value, value.index, ".index")
    name = writer.child(value, value.name, ".name")
    return {"$pd.Series": [values, index, name, *_write_extras(value, writer)]}


def _read_series(argument: Node, reader: Reader) -> Any:
    node, index_node, name, attrs, unique = unpack(argument, dict, None, None, None, bool)
    values, index = read_column(node, reader), read_index(index_node, reader)
    if len(values) != len(index):
        raise FormatError(f"{len(values)} values for an index of {len(index)}")
    series = pd.Series(values, index=index, dtype=values.dtype, name=reader.part(name), copy=False)
    return _read_extras(series, attrs, unique, reader)


def _write_extras(value: Any, writer: Writer) -> list[Node]:
    """What any pandas object carries besides: attrs, and whether its labels must be unique."""
    attrs = writer.child(value, value.attrs, ".attrs")
    return [attrs, not value.flags.allows_duplicate_labels]


def _read_extras(value: Any, attrs: Node, unique: bool, reader: Reader) -> Any:
    value.attrs = expect(reader.part(attrs), dict)
    if unique:
        value.flags.allows_duplicate_labels = False
    return value


def _write_frame(value: pd.DataFrame, writer: Writer) -> Node:
    index = writer.child(value, value.index, ".index")
    columns = writer.child(value, value.columns, ".columns")
    data = _write_block(value) if _is_block(value) else _write_columns(value, writer)
    return {"$pd.DataFrame": [index, columns, data, *_write_extras(value, writer)]}


def _is_block(frame: pd.DataFrame) -> bool:
    """Return whether all columns, two at least, have one dtype of NumPy's, and not object."""
    first, *others = frame.dtypes.tolist() or [None]
    if not others or not isinstance(first, np.dtype) or first.hasobject:
        return False
    return all(dtype == first for dtype in others)


def _write_block(frame: pd.DataFrame) -> Node:
    return {"$np.array": write_array(frame.to_numpy().T)}


def _write_columns(frame: pd.DataFrame, writer: Writer) -> list[Node]:
    nodes = []
    for label, column in frame.items():
        try:
            nodes.append(write_column(column, writer))
        except RefusalError as refusal:
            raise refusal.inside(frame, f"[{label!r}]") from None
    return nodes


def _read_frame(argument: Node, reader: Reader) -> Any:
    index_node, columns_node, data, attrs, unique = unpack(argument, None, None, None, None, bool)
    index, columns = read_index(index_node, reader), read_index(columns_node, reader)
    frame = (
        _read_columns(data, index, reader)
        if type(data) is list
        else _read_block(data, index, reader)
    )
    frame.columns = columns
    return _read_extras(frame, attrs, unique, reader)


def _read_block(node: Node, index: pd.Index, reader: Reader) -> pd.DataFrame:
    block = reader.value(node)
    if not isinstance(block, np.ndarray) or block.ndim != 2:
        raise FormatError("a block of columns that is not an array of two dimensions")
    return pd.DataFrame(block.T, index=index, copy=False)


def _read_columns(nodes: list[Node], index: pd.Index, reader: Reader) -> pd.DataFrame:
    columns: dict[int, Any] = {}
    for i, node in enumerate(nodes):
        values = read_column(node, reader)
        if len(values) != len(index):
            raise FormatError(f"a column of {len(values)} values for an index of {len(index)}")
        if values.dtype == object:
            values = pd.Series(values, index=index, dtype=object, copy=False)
        columns[i] = values
    return pd.DataFrame(columns, index=index, copy=False)


register(pd.RangeIndex, "$pd.RangeIndex", _write_range, _read_range)
register(pd.MultiIndex, "$pd.MultiIndex", _write_multi, _read_multi)
for _kind in (
    *(pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex),
    *(pd.PeriodIndex, pd.IntervalIndex, pd.CategoricalIndex),
):
    register(_kind, "$pd.Index", _write_index, _read_index)
register(pd.Series, "$pd.Series", _write_series, _read_series)
register(pd.DataFrame, "$pd.DataFrame", _write_frame, _read_frame)
