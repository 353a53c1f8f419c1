"""Codecs of classes of Python's standard library that are no scalars: paths, fractions."""

from __future__ import annotations

import fractions
import math
import os
import pathlib

from mltraq_prefect.codecs.python_codec import is_unicode, write_text
from mltraq_prefect.codecs.reader import Reader
from mltraq_prefect.codecs.registry import FormatError, Node, expect, register, unpack
from mltraq_prefect.codecs.writer import Writer

_PATHS: dict[str, type[pathlib.PurePath]] = {
    kind.__name__: kind
    for kind in (
        pathlib.PurePosixPath,
        pathlib.PureWindowsPath,
        pathlib.PosixPath,
        pathlib.WindowsPath,
    )
}
_FOREIGN = "PosixPath" if os.name == "nt" else "WindowsPath"


def _write_path(value: pathlib.PurePath, _: Writer) -> Node:
    text = str(value)
    return {"$path": [type(value).__name__, text if is_unicode(text) else write_text(text)]}


def _read_path(argument: Node, reader: Reader) -> pathlib.PurePath:
    """Return a path; that of another kind of system is pure, as Python has no other."""
    name, node = unpack(argument, str, None)
    text = expect(reader.value(node), str)
    kind = _PATHS.get(f"Pure{name}" if name == _FOREIGN else name)
    if kind is None or str(kind(text)) != text:
        raise FormatError("no path that was written")
    return kind(text)


def _write_fraction(value: fractions.Fraction, writer: Writer) -> Node:
    return {"$fraction": [writer.node(value.numerator), writer.node(value.denominator)]}


def _read_fraction(argument: Node, reader: Reader) -> fractions.Fraction:
    numerator, denominator = (
        expect(reader.value(node), int) for node in unpack(argument, None, None)
    )
    if denominator < 1 or math.gcd(numerator, denominator) != 1:
        raise FormatError("no fraction in its lowest terms")
    return fractions.Fraction(numerator, denominator)


for _kind in _PATHS.values():
    register(_kind, "$path", _write_path, _read_path)
register(fractions.Fraction, "$fraction", _write_fraction, _read_fraction)
