"""What an object consists of: its class and the values that it holds, as `pickle` sees them."""

from __future__ import annotations

import copyreg
import enum
import fractions
import functools
import pathlib
import re
import types
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xxhash

Parts = tuple[str, list[Any]]
"""What kind of thing it is, and values that tell it from others of its kind."""


def take_apart(value: Any) -> Parts:
    """Return what an object consists of.

    Kinds that are common as params are described by themselves, so that neither another version
    of Python nor of a library changes the description; all others by what `pickle` asks of them.

    Raises:
        TypeError: Nothing tells it from others of its class, such as an open file or a lock.
    """
    return known_parts(value) or _reduced(value)


def known_parts(value: Any) -> Parts | None:
    """Return what an object of a known kind consists of; None for any other."""
    for kind, describe in _CANONICAL_FORMS.items():
        if isinstance(value, kind):
            return describe(value)
    if _is_estimator(value):
        return "object", [type(value), vars(value)]
    if _is_pydantic(value):
        hidden = [getattr(value, f"__pydantic_{name}__", None) for name in ("extra", "private")]
        return "object", [type(value), vars(value), *hidden]
    return None


def _path(value: pathlib.PurePath) -> Parts:
    name = "Path" if isinstance(value, pathlib.Path) else type(value).__name__
    return "path", [name, value.as_posix()]


def _member(value: enum.Enum) -> Parts:
    return "enum", [type(value), value._value_ if value._name_ is None else value._name_]


def _array(value: np.ndarray[Any, Any]) -> Parts | None:
    if type(value) is not np.ndarray:
        return None
    shape = list(value.shape)
    if value.dtype.names is not None or value.dtype.kind in "OT":
        return "array", [_dtype_text(value.dtype), shape, value.tolist()]
    data = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data if value.nbytes else b""
    return "array", [_dtype_text(value.dtype), shape, xxhash.xxh3_128_hexdigest(data)]


def _dtype_text(dtype: np.dtype[Any]) -> str:
    return dtype.str if dtype.names is None else repr(np.lib.format.dtype_to_descr(dtype))


_CANONICAL_FORMS: dict[type, Callable[[Any], Parts | None]] = {
    pathlib.PurePath: _path,
    enum.Enum: _member,
    range: lambda value: ("range", [value.start, value.stop, value.step]),
    slice: lambda value: ("slice", [value.start, value.stop, value.step]),
    re.Pattern: lambda value: ("pattern", [value.pattern, value.flags]),
    fractions.Fraction: lambda value: ("fraction", [value.numerator, value.denominator]),
    zoneinfo.ZoneInfo: lambda value: ("zone", [value.key]) if value.key else None,
    np.dtype: lambda value: ("dtype", [_dtype_text(value)]),
    np.ndarray: _array,
    functools.partial: lambda value: ("partial", [value.func, value.args, value.keywords]),
    types.ModuleType: lambda value: ("module", [value.__name__]),
}


def _is_estimator(value: Any) -> bool:
    """Whether a value follows scikit-learn, whose own state names the version of the library."""
    return all(callable(getattr(type(value), name, None)) for name in ("get_params", "set_params"))


def _is_pydantic(value: Any) -> bool:
    return all(hasattr(type(value), f"__pydantic_{name}__") for name in ("validator", "decorators"))


def _reduced(value: Any) -> Parts:
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        found = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:
        raise TypeError(f"{type(value).__name__}: {error}") from None
    if isinstance(found, str):
        return "global", [type(value), found]
    make, args, state, items, pairs = (*found, None, None, None)[:5]
    contents = [state, _listed(items), _listed(pairs)]
    if make is copyreg.__newobj__:  # type: ignore[attr-defined]
        kind, *given = args
        return "object", [kind, *_filled([given, *contents])]
    return "made", [make, *_filled([list(args), *contents])]


def _listed(items: Iterator[Any] | None) -> list[Any]:
    return [] if items is None else list(items)


def _filled(parts: list[Any]) -> list[Any]:
    """Leave out what is empty at the end."""
    while parts and (parts[-1] is None or parts[-1] == []):
        parts = parts[:-1]
    return parts
