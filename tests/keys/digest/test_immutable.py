"""Which values can be recognised by their identity."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import uuid
from collections import namedtuple
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dynmemo.keys.digest import is_immutable

Place = namedtuple("Place", "lat")

NOON = dt.datetime(2024, 2, 29, 12)


class Text(str):
    pass


class Zone(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> None:
        return None

    tzname = dst = utcoffset


def _nested(depth: int) -> tuple[Any, ...]:
    value: tuple[Any, ...] = ()
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 1, 1.0, 1j, "a", b"a", ..., range(3), (), (1, ("a", frozenset([2]))), frozenset([1])),
        *(NOON, NOON.date(), NOON.time(), NOON.replace(tzinfo=dt.UTC), NOON.replace(tzinfo=ZoneInfo("Europe/Berlin"))),
        *(
            dt.timedelta(1),
            dt.UTC,
            decimal.Decimal(1),
            fractions.Fraction(1),
            uuid.uuid4(),
            HTTPStatus.OK,
            _nested(9_999),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_built_in_values_of_immutable_parts_cannot_change(value: object) -> None:
    assert is_immutable(value)


@pytest.mark.parametrize(
    "value",
    [
        *([], {}, set(), bytearray(), object(), len, int, ([],), ((1, {}),), Text("a"), Place(1)),
        *(NOON.replace(tzinfo=Zone()), PurePosixPath("a"), slice(1), memoryview(b"a")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_else_may_change(value: object) -> None:
    assert not is_immutable(value)
