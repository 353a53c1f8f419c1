"""Values: encode and decode beside pickle protocol 5 and MLTRAQ's serialiser, on the same values.

Seconds are of the processor. Run as ``python -m benchmarks values``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import peers
from benchmarks.report import Line, Table, cells, fastest, milliseconds
from benchmarks.samples import SMALL, Sample, samples
from mltraq_prefect import codecs

Call = Callable[[Any], Any]


def tables(quick: bool) -> Iterator[Table]:
    """Yield the table of values; `quick` repeats less often."""
    repeats = 3 if quick else 7
    others = peers.ask("mltraq_values", str(repeats))
    lines = [line for sample in samples() for line in compare(sample, others, repeats)]
    headings = ("value", "ours", "pickle 5", *(["MLTRAQ"] if others else []))
    yield Table("Values: codecs beside pickle protocol 5", headings, lines)


def compare(sample: Sample, others: dict[str, list[Any]] | None, repeats: int) -> Iterator[Line]:
    """Yield the lines of one value: encode, decode."""
    each = sample.name == SMALL
    encode, decode = (one_by_one(call) if each else call for call in (codecs.encode, codecs.decode))
    dumps, loads = (one_by_one(call) if each else call for call in (pickle_5, pickle.loads))
    data, pickled = encode(sample.value), dumps(sample.value)
    pairs = {
        "encode": (lambda: encode(sample.value), lambda: dumps(sample.value)),
        "decode": (lambda: decode(data), lambda: loads(pickled)),
    }
    for i, (direction, calls) in enumerate(pairs.items()):
        ours, theirs = fastest(*calls, repeats=repeats)
        figures = [ours, theirs, *([others[sample.name][i]] if others else [])]
        work = f"{direction} {sample.name}"
        yield Line((work, *cells(figures, milliseconds)), ours / theirs, sample.budgets[i])


def pickle_5(value: Any) -> bytes:
    return pickle.dumps(value, 5)


def one_by_one(call: Call) -> Call:
    return lambda values: [call(value) for value in values]
