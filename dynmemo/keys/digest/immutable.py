"""Which values cannot change, so that the same object always has the same digest."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from fractions import Fraction
from types import EllipsisType, NotImplementedType
from uuid import UUID
from zoneinfo import ZoneInfo

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
        if isinstance(value, (tuple, frozenset)) and kind in {tuple, frozenset}:
            waiting.extend(value)
        elif isinstance(value, enum.Enum):
            waiting.append(value.value)
        elif not (isinstance(value, (dt.datetime, dt.time)) and _is_built_in_time(value)):
            return False
    return True


def _is_built_in_time(value: dt.datetime | dt.time) -> bool:
    return type(value) in {dt.datetime, dt.time} and type(value.tzinfo) in _ZONES
