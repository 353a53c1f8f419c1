"""Codecs of Python's own scalars and of its standard library."""

from __future__ import annotations

import binascii
import datetime as dt
import decimal
import functools
import math
import re
import struct
import uuid
import zoneinfo
from typing import Any

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

INLINE_BYTES = 256
_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1  # what JSON's integers are here
_DOUBLE = struct.Struct(">d")
_HEX = re.compile(r"-?[0-9a-f]+\Z")


def _itself(value: Any, _: Any) -> Any:
    return value


def _write_int(value: int, _: Writer) -> Node:
    return value if _MIN_INT <= value <= _MAX_INT else {"$int": f"{value:x}"}


def _read_int(argument: Node, _: Reader) -> int:
    if not _HEX.match(expect(argument, str)):
        raise FormatError("hexadecimal digits expected")
    return int(argument, 16)


def _write_float(value: float, _: Writer) -> Node:
    return value if math.isfinite(value) else {"$float": _DOUBLE.pack(value).hex()}


def _read_float(argument: Node, _: Reader) -> float:
    value: float = _DOUBLE.unpack(bytes.fromhex(expect(argument, str)))[0]
    return value


def _write_complex(value: complex, _: Writer) -> Node:
    return {"$complex": (_DOUBLE.pack(value.real) + _DOUBLE.pack(value.imag)).hex()}


def _read_complex(argument: Node, _: Reader) -> complex:
    real, imag = struct.unpack(">dd", bytes.fromhex(expect(argument, str)))
    return complex(real, imag)


def is_unicode(text: str) -> bool:
    """Return whether the text is free of lone surrogates, which UTF-8 has no form for."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_str(value: str, _: Writer) -> Node:
    return value if is_unicode(value) else write_text(value)


def write_text(value: str) -> Node:
    """Return the node of text with lone surrogates."""
    return {"$str": write_base64(value.encode("utf-8", "surrogatepass"))}


def _read_str(argument: Node, _: Reader) -> str:
    return read_base64(argument).decode("utf-8", "surrogatepass")


def write_base64(data: bytes) -> str:
    """Return base64 text (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False).decode()


def read_base64(argument: Node) -> bytes:
    """Return the bytes of base64 text (RFC 4648, section 4)."""
    return binascii.a2b_base64(expect(argument, str), strict_mode=True)


def _write_bytes(value: bytes, _: Writer) -> Node:
    if len(value) > INLINE_BYTES:
        return {"$bytes": value}
    return {"$bytes": write_base64(value)}


def _read_bytes(argument: Node, reader: Reader) -> bytes:
    if type(argument) is int:
        return bytes(reader.buffer(argument))
    return read_base64(argument)


def _write_decimal(value: decimal.Decimal, _: Writer) -> Node:
    return {"$decimal": _decimal_text(value)}


def _decimal_text(value: decimal.Decimal) -> str:
    """Return its text; whether that has a capital E is a matter of the decimal context."""
    return str(value).replace("e", "E")


def _read_decimal(argument: Node, _: Reader) -> decimal.Decimal:
    value = decimal.Decimal(expect(argument, str))
    if _decimal_text(value) != argument:
        raise FormatError("it is not the form of a Decimal")
    return value


def _write_uuid(value: uuid.UUID, _: Writer) -> Node:
    return {"$uuid": str(value)}


def _read_uuid(argument: Node, _: Reader) -> uuid.UUID:
    return uuid.UUID(expect(argument, str))


def write_zone(zone: dt.tzinfo | None) -> Node:
    """Return the node of a time zone: null, seconds with a name, or an IANA key.

    Raises:
        RefusalError: It is of another library.
    """
    if zone is None:
        return None
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is dt.timezone:
        return _write_offset(zone)
    raise RefusalError(
        zone, "only zoneinfo.ZoneInfo by key and datetime.timezone keep their identity"
    )


def _write_offset(zone: dt.timezone) -> Node:
    offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
    return [offset.days, offset.seconds, offset.microseconds, *name]


def read_zone(node: Node) -> dt.tzinfo | None:
    """Return the time zone of a node; a key must be one that this machine knows."""
    if node is None:
        return None
    if type(node) is str:
        return _zone(node)
    offset = expect(node, list)
    if not 3 <= len(offset) <= 4:
        raise FormatError("3 or 4 parts of a UTC offset expected")
    days, seconds, microseconds = unpack(offset[:3], int, int, int)
    delta = dt.timedelta(days, seconds, microseconds)
    names = [expect(name, str) for name in offset[3:]]
    return dt.timezone(delta, *names)


@functools.lru_cache(maxsize=1024)
def _zone(key: str) -> zoneinfo.ZoneInfo:
    if key not in _known_zones():
        raise FormatError(f"time zone {key[:60]!r} is unknown on this machine; install tzdata")
    return zoneinfo.ZoneInfo(key)


@functools.cache
def _known_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _write_datetime(value: dt.datetime, _: Writer) -> Node:
    text = value.replace(tzinfo=None).isoformat()
    if value.tzinfo is None and not value.fold:
        return {"$datetime": text}
    return {"$datetime": [text, value.fold, write_zone(value.tzinfo)]}


def _read_datetime(argument: Node, _: Reader) -> Any:
    if type(argument) is str:
        return _naive(dt.datetime, argument)
    text, fold, zone = unpack(argument, str, int, None)
    return _naive(dt.datetime, text).replace(tzinfo=read_zone(zone), fold=fold)


def _write_time(value: dt.time, _: Writer) -> Node:
    text = value.replace(tzinfo=None).isoformat()
    if value.tzinfo is None and not value.fold:
        return {"$time": text}
    return {"$time": [text, value.fold, write_zone(value.tzinfo)]}


def _read_time(argument: Node, _: Reader) -> Any:
    if type(argument) is str:
        return _naive(dt.time, argument)
    text, fold, zone = unpack(argument, str, int, None)
    return _naive(dt.time, text).replace(tzinfo=read_zone(zone), fold=fold)


def _naive(kind: Any, text: str) -> Any:
    """Accept only what `isoformat` gives, of the many forms that `fromisoformat` reads."""
    value = kind.fromisoformat(expect(text, str))
    if value.isoformat() != text:
        raise FormatError("it is not the ISO 8601 form that was written")
    return value


def _write_date(value: dt.date, _: Writer) -> Node:
    return {"$date": value.isoformat()}


def _read_date(argument: Node, _: Reader) -> dt.date:
    return _naive(dt.date, argument)  # type: ignore[no-any-return]


def _write_timedelta(value: dt.timedelta, _: Writer) -> Node:
    return {"$timedelta": [value.days, value.seconds, value.microseconds]}


def _read_timedelta(argument: Node, _: Reader) -> dt.timedelta:
    return dt.timedelta(*unpack(argument, int, int, int))


for _plain in (type(None), bool):
    register(_plain, None, _itself, None)
register(str, "$str", _write_str, _read_str)
register(int, "$int", _write_int, _read_int)
register(float, "$float", _write_float, _read_float)
register(complex, "$complex", _write_complex, _read_complex)
register(bytes, "$bytes", _write_bytes, _read_bytes)
register(decimal.Decimal, "$decimal", _write_decimal, _read_decimal)
register(uuid.UUID, "$uuid", _write_uuid, _read_uuid)
register(dt.datetime, "$datetime", _write_datetime, _read_datetime)
register(dt.date, "$date", _write_date, _read_date)
register(dt.time, "$time", _write_time, _read_time)
register(dt.timedelta, "$timedelta", _write_timedelta, _read_timedelta)
