"""What to store in place of a value of a type that has no codec: a line of Python that works."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

_REPLACEMENTS = {
    "array.array": "list(x)",
    "builtins.BaseException": "repr(x)",
    "builtins.builtin_function_or_method": "x.__qualname__",
    "builtins.bytearray": "bytes(x)",
    "builtins.function": "f'{x.__module__}.{x.__qualname__}'",
    "builtins.generator": "list(x)",
    "builtins.mappingproxy": "dict(x)",
    "builtins.memoryview": "bytes(x)",
    "builtins.module": "x.__name__",
    "builtins.range": "list(x)",
    "builtins.slice": "[x.start, x.stop, x.step]",
    "builtins.type": "f'{x.__module__}.{x.__qualname__}'",
    "collections.Counter": "dict(x)",
    "collections.OrderedDict": "dict(x)",
    "collections.defaultdict": "dict(x)",
    "collections.deque": "list(x)",
    "enum.Enum": "x.name",
    "functools.partial": "repr(x)",
    "jaxlib._jax.ArrayImpl": "numpy.asarray(x)",
    "jaxlib.xla_extension.ArrayImpl": "numpy.asarray(x)",
    "ipaddress._BaseAddress": "str(x)",
    "ipaddress._BaseNetwork": "str(x)",
    "numpy.dtype": "x.str",
    "numpy.ma.MaskedArray": "{'data': x.data, 'mask': numpy.ma.getmaskarray(x)}",
    "numpy.ma.core.MaskedArray": "{'data': x.data, 'mask': numpy.ma.getmaskarray(x)}",
    "numpy.matrix": "numpy.asarray(x)",
    "numpy.memmap": "numpy.array(x)",
    "numpy.ndarray": "numpy.array(x, subok=False)",
    "numpy.random._generator.Generator": "x.bit_generator.state",
    "numpy.random.mtrand.RandomState": "x.get_state(legacy=False)",
    "numpy.rec.recarray": "numpy.array(x.tolist(), dtype=x.dtype.descr)",
    "numpy.recarray": "numpy.array(x.tolist(), dtype=x.dtype.descr)",
    "numpy.record": "x.item()",
    "pandas.DataFrame": "pandas.DataFrame(x)",
    "pandas.Series": "pandas.Series(x)",
    "pandas._libs.tslibs.offsets.BaseOffset": "x.freqstr",
    "pandas.arrays.SparseArray": "numpy.asarray(x)",
    "pandas.core.arrays.sparse.array.SparseArray": "numpy.asarray(x)",  # as pandas 2 names it
    "pandas.core.frame.DataFrame": "pandas.DataFrame(x)",
    "pandas.core.series.Series": "pandas.Series(x)",
    "polars.dataframe.frame.DataFrame": "x.to_pandas()",
    "polars.lazyframe.frame.LazyFrame": "x.collect().to_pandas()",
    "polars.series.series.Series": "x.to_pandas()",
    "pyarrow.lib.Array": "x.to_pylist()",
    "pyarrow.lib.ChunkedArray": "x.to_pylist()",
    "pyarrow.lib.RecordBatch": "x.to_pandas()",
    "pyarrow.lib.Scalar": "x.as_py()",
    "pyarrow.lib.Table": "x.to_pandas()",
    "re.Pattern": "x.pattern",
    "scipy.sparse._base._spbase": "x.toarray()",
    "tensorflow.python.framework.tensor.Tensor": "x.numpy()",
    "torch.Tensor": "x.detach().cpu().numpy()",
    "types.SimpleNamespace": "vars(x)",
    "xarray.core.dataarray.DataArray": "x.to_dict()",
    "xarray.core.dataset.Dataset": "x.to_dict()",
}
"""By module and name of a type, or of one that it inherits from."""

_CODE_OF_PLAIN = {
    "builtins.int": "int(x)",
    "builtins.float": "float(x)",
    "builtins.complex": "complex(x)",
    "builtins.str": "str.__str__(x)",
    "builtins.bytes": "bytes(x)",
    "builtins.list": "list(x)",
    "builtins.tuple": "tuple(x)",
    "builtins.dict": "dict(x)",
    "builtins.set": "set(x)",
    "builtins.frozenset": "frozenset(x)",
    "decimal.Decimal": "decimal.Decimal(x)",
    "fractions.Fraction": "fractions.Fraction(x)",
    "uuid.UUID": "uuid.UUID(int=x.int)",
    "datetime.datetime": "datetime.datetime.fromisoformat(x.isoformat())",
    "datetime.date": "datetime.date.fromisoformat(x.isoformat())",
    "datetime.time": "datetime.time.fromisoformat(x.isoformat())",
    "datetime.timedelta": "datetime.timedelta(0) + x",
}
"""Of types that have a codec, but whose subclasses have none."""

_CODE_OF_ATTRIBUTES = {
    "_asdict": "dict(x._asdict())",  # a named tuple
    "model_dump": "x.model_dump()",  # pydantic
    "get_params": "x.get_params()",  # scikit-learn
    "__attrs_attrs__": "attrs.asdict(x)",
}


def hint(kind: type, known: Collection[type]) -> str:
    """Return what to store in place of a value of an unsupported type.

    Args:
        kind: The type.
        known: The types that have a codec.
    """
    code = _of_class(kind)
    if code is not None:
        return f"store {code}, where x is the value"
    for base in kind.__mro__[1:]:
        code = _CODE_OF_PLAIN.get(_name(base))
        if base in known and code is not None:
            return f"its class would be lost; store {code}, where x is the value"
    return (
        "store what it holds as numbers, text, lists, dicts, arrays or frames, such as vars(x), "
        "where x is the value"
    )


def _of_class(kind: type) -> str | None:
    if dataclasses.is_dataclass(kind):
        return "dataclasses.asdict(x)"
    for attribute, code in _CODE_OF_ATTRIBUTES.items():
        if hasattr(kind, attribute):
            return code
    names = map(_name, kind.__mro__)
    return next((_REPLACEMENTS[name] for name in names if name in _REPLACEMENTS), None)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
