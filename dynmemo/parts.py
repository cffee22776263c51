"""Values too large for one DynamoDB item, as pure functions: cutting them, naming and dating the parts, joining them.

A part lies under ``{key}#{write_id}#{n}`` (n from 0). Every write of a value has a write id of its own, so parts are
never overwritten: what one row points to is whole or gone, whoever else writes or dies.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from blake3 import blake3

from dynmemo.expiry import TICKS_PER_SECOND, parse_timespan
from dynmemo.item import LATEST_TIME, Parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynmemo.item import Item

DAY = 86_400
LEAST_SLIDING_SECONDS = 7 * DAY
SLIDING_WINDOWS = 30

SMALLEST_PART = 256_000
"""Bytes that every part but the last has at least; a row that announces more parts than that gives is nonsense."""

_WRITE_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_PART_KEY = re.compile(r"(?P<row>.+)#(?P<write_id>[0-9a-f]{24})#[0-9]+", re.ASCII | re.DOTALL)


def new_write_id(now: float) -> str:
    """24 hexadecimal digits: the Unix second in which the write began, then 64 random bits."""
    return f"{int(now):08x}{secrets.token_hex(8)}"


def began_at(write_id: str) -> int | None:
    """The Unix second in which a write began; None for what is no write id.

    Parts are written before their row, so parts without one are orphans only once their writer cannot be at work
    any more.
    """
    return int(write_id[:8], 16) if _WRITE_ID.fullmatch(write_id) else None


def part_key(key: str, write_id: str, n: int) -> str:
    """The key of part `n` (from 0) of the value of the row `key`."""
    return f"{key}#{write_id}#{n}"


def owner(key: str) -> tuple[str, str] | None:
    """The key of the row and the write id to which the part under `key` belongs; None for a key of no part.

    The names in keys of decorated functions are escaped, so theirs are told apart with certainty.
    """
    match = _PART_KEY.fullmatch(key)
    return None if match is None else (match["row"], match["write_id"])


def cut(value: bytes, write_id: str, size: int) -> Parts:
    """What a row says of `value` when it lies in parts of `size` bytes."""
    return Parts(write_id, -(-len(value) // size), len(value), blake3(value).digest())


def outside(value: bytes, write_id: str, location: str) -> Parts:
    """What a row says of `value` when it lies in one object outside the table."""
    return Parts(write_id, 0, len(value), blake3(value).digest(), location)


def join(pieces: Sequence[bytes | None], parts: Parts) -> bytes | None:
    """The value, with one copy; None when a piece is missing or they are not those that were written."""
    if len(pieces) != parts.count:
        return None
    present = [piece for piece in pieces if piece is not None]
    if len(present) != parts.count or sum(map(len, present)) != parts.length:
        return None
    return checked(b"".join(present), parts)


def checked(value: bytes, parts: Parts) -> bytes | None:
    """`value` if it is the one that the row speaks of, else None."""
    return value if len(value) == parts.length and blake3(value).digest() == parts.digest else None


def is_plausible(parts: Parts) -> bool:
    """Whether so many parts can hold that many bytes; rows of other programs may say anything."""
    return 1 <= parts.count <= max(parts.length, 0) // SMALLEST_PART + 1


def with_deadline(item: Item) -> Item:
    """The row of a value in parts: one that slides without end gets a deadline, since its parts need a TTL.

    That is 7 days or 30 windows after the write, whichever is later.
    """
    if item.ttl_window is None or item.ttl_date is None or item.ttl_deadline is not None:
        return item
    window = parse_timespan(item.ttl_window) / TICKS_PER_SECOND
    furthest = item.ttl_date - window + max(LEAST_SLIDING_SECONDS, SLIDING_WINDOWS * window)
    return replace(item, ttl_deadline=min(max(int(furthest), item.ttl_date), LATEST_TIME))


def ttl_date(row: Item) -> int | None:
    """The TTL of the parts of `row`: a day after the furthest that it can live, None if it never expires."""
    if row.ttl_date is None:
        return None
    furthest = row.ttl_date if row.ttl_window is None else max(row.ttl_date, row.ttl_deadline or 0)
    return min(furthest + DAY, LATEST_TIME)
