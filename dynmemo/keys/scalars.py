"""Built-in values without parts."""

from __future__ import annotations

import datetime as dt
import enum
import struct
import sys
from array import array
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import EllipsisType, NotImplementedType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from dynmemo.keys.encoding import double, large, node, size, tagged, text
from dynmemo.keys.refusal import Refusal

if TYPE_CHECKING:
    from dynmemo.keys.encoding import Handler, Node

_INT = struct.Struct("<cq").pack
_FLOAT = struct.Struct("<cd").pack
_MOMENT = struct.Struct("<HBBBBBIB").pack
_SPAN = struct.Struct("<iII").pack

_STRINGS = tuple(b"s" + size(n) for n in range(255))
_BYTES = tuple(b"b" + size(n) for n in range(255))
_NAN = b"f" + double(float("nan"))


def _int(value: int) -> bytes:
    try:
        return _INT(b"i", value)
    except struct.error:
        return large(b"I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _float(value: float) -> bytes:
    return _FLOAT(b"f", value) if value == value else _NAN


def _str(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = text(value)
    return _STRINGS[len(data)] + data if len(data) < 255 else large(b"s", data)


def _bytes(value: bytes) -> bytes:
    return _BYTES[len(value)] + value if len(value) < 255 else large(b"b", value)


def _range(value: range) -> bytes:
    return tagged(b"range", b"%x,%x,%x" % (value.start, value.stop, value.step))


def _date(value: dt.date) -> bytes:
    return tagged(b"date", value.toordinal().to_bytes(4, "little"))


def _timedelta(value: dt.timedelta) -> bytes:
    return tagged(b"timedelta", _SPAN(value.days, value.seconds, value.microseconds))


def _timezone(value: dt.timezone) -> bytes:
    return tagged(b"timezone", _timedelta(value.utcoffset(None)) + text(value.tzname(None)))


def _fraction(value: Fraction) -> bytes:
    return tagged(b"fraction", b"%x/%x" % (value.numerator, value.denominator))


Leaf = Callable[[Any], bytes]

LEAVES: Final[dict[type, Leaf]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    complex: lambda value: b"c" + double(value.real) + double(value.imag),
    EllipsisType: lambda _: b"E",
    NotImplementedType: lambda _: b"n",
    range: _range,
    dt.date: _date,
    dt.timedelta: _timedelta,
    dt.timezone: _timezone,
    Decimal: lambda value: tagged(b"decimal", str(value).encode()),
    Fraction: _fraction,
    UUID: lambda value: tagged(b"uuid", value.bytes),
}
"""Exact types whose values are encoded at once."""


def _datetime(value: dt.datetime) -> bytes | Node:
    date = _MOMENT(value.year, value.month, value.day, *_clock(value))
    return tagged(b"datetime", date) if value.tzinfo is None else node(b"datetime", (date, value.tzinfo))


def _time(value: dt.time) -> bytes | Node:
    clock = _MOMENT(0, 0, 0, *_clock(value))
    return tagged(b"time", clock) if value.tzinfo is None else node(b"time", (clock, value.tzinfo))


def _clock(value: dt.datetime | dt.time) -> tuple[int, int, int, int, int]:
    return value.hour, value.minute, value.second, value.microsecond, value.fold


def _zone(value: ZoneInfo) -> bytes:
    if value.key is None:
        raise Refusal(ZoneInfo, "a time zone without a key, which has no stable content")
    return tagged(b"zone", text(value.key))


def _bytearray(value: bytearray) -> bytes:
    return large(b"a", value)


def _memoryview(value: memoryview) -> Node:
    try:
        content = value.tobytes()
    except (NotImplementedError, ValueError) as error:
        raise Refusal(memoryview, "a memory view that cannot be read") from error
    return node(b"memoryview", (value.format, value.shape, content))


def _array(value: array[Any]) -> Node:
    # The same letter has another width elsewhere, so kind and width stand for it.
    kind = {"f": "f", "d": "f", "u": "u", "w": "u"}.get(value.typecode) or ("i" if value.typecode.islower() else "n")
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return node(b"array", (kind, value.itemsize, memoryview(value).cast("B") if kind != "u" else value.tounicode()))


MORE: Final[dict[type, Handler]] = {
    dt.datetime: _datetime,
    dt.time: _time,
    ZoneInfo: _zone,
    bytearray: _bytearray,
    memoryview: _memoryview,
    array: _array,
}
"""Exact types whose values may have a part, or are large."""


_SCALARS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, EllipsisType, NotImplementedType}
    | {dt.date, dt.timedelta, dt.timezone, ZoneInfo, Decimal, Fraction, UUID}
)
_ZONES = frozenset({type(None), dt.timezone, ZoneInfo})


def is_immutable(value: object) -> bool:
    """Whether `value` is built-in and immutable all the way down.

    True for None, booleans, numbers, text, bytes, ranges, dates and times (with a zone of the standard library
    or none), Decimal, Fraction, UUID, members of enums whose value is immutable, and tuples and
    frozensets of such. Subclasses and everything else are not: they can have attributes.
    """
    waiting = [value]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind in _SCALARS:
            continue
        # The type decides: proxies say that they are what they stand for, or raise when asked.
        some: Any = value
        if kind in {tuple, frozenset}:
            waiting.extend(some)
        elif issubclass(kind, enum.Enum):
            waiting.append(some.value)
        elif kind not in {dt.datetime, dt.time} or type(some.tzinfo) not in _ZONES:
            return False
    return True
