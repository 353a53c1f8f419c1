"""A type with a codec of a user; workers of executions import this, so it imports little."""

from typing import Any, NamedTuple

from mltraq_prefect.codecs import register_codec


class Pair(NamedTuple):
    first: Any
    second: Any


def _pair(items: list[Any]) -> Pair:
    assert type(items) is list
    return Pair(*items)


register_codec(Pair, "tests.pair", list, _pair)
